// Asks the server. A server that does not answer is asked again until it does.

const RETRY_MS = 2000;

export class Refused extends Error {}

const wait = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

let isAway = false;
let say = () => {};

/** Have a function called with why the server does not answer, and with nothing when it does. */
export function watchServer(listener) {
  say = listener;
}

function away(message) {
  if (message || isAway) say(message);
  isAway = Boolean(message);
}

/** Return the answer to a question as an object; wait for a server that is away. */
export async function get(path, parameters = new URLSearchParams(), signal = undefined) {
  for (;;) {
    let response;
    try {
      response = await fetch(`/api/${path}?${parameters}`, { signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      away("The explorer does not answer. Is mt-pipeline still running?");
      await wait(RETRY_MS, signal);
      continue;
    }
    const answer = await response.json().catch(() => ({ error: response.statusText }));
    if (response.status === 503) {
      away(answer.error);
      await wait(RETRY_MS, signal);
      continue;
    }
    away("");
    if (response.ok) return answer;
    if (response.status === 401)
      throw new Refused("Open the link that `mt-pipeline run` printed: this page needs its token.");
    throw new Refused(answer.error);
  }
}
