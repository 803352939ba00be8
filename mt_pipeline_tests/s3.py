"""A store that speaks S3, of moto, in a process of its own on a free port.

    with S3() as store:
        store.put("kitchen/monday.pcap", b"...")
        with store.account():                           # variables of who may read it
            ...                                         # Bucket(store.url)

Until `guarded` it lets everybody in. The process ends with the block, or with that of the test.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self
from unittest.mock import patch

import botocore.session
import requests

from mt_pipeline.captures import s3_client
from mt_pipeline.system.processes import bound
from mt_pipeline_tests.services import eventually, free_ports

_COMMAND = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1"]

BUCKET, PREFIX = "lab-captures", "field/2026"
PAGE = 50
"""Objects of a page of a listing: fewer than the thousand of AWS, so that some have two."""
KEY, SECRET = "AKIDOFATEST", "s3cret+of/the store"


class S3:
    """A store with one empty bucket."""

    def __init__(self) -> None:
        [self.port] = free_ports(1)
        self.url = f"s3://{BUCKET}/{PREFIX}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, without any object."""
        self._process = subprocess.Popen(
            bound([*_COMMAND, "-p", str(self.port)]),
            env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert eventually(self._answers)
        self.client().create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        """End it; all objects are gone then."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def empty(self) -> None:
        """Delete everything, and let everybody in."""
        requests.post(f"{self.address}/moto-api/reset", timeout=60).raise_for_status()
        requests.post(f"{self.address}/moto-api/reset-auth", data="inf", timeout=60)
        self.client().create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> None:
        """Store an object below the prefix."""
        self.client().put_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}", Body=content)

    def delete(self, key: str) -> None:
        """Delete an object below the prefix."""
        self.client().delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}")

    def stored(self) -> Mapping[str, tuple[int, str]]:
        """Return the size and the ETag of every object of the bucket."""
        listed = self.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {item["Key"]: (item["Size"], item["ETag"]) for item in listed}

    def guarded(self, *actions: str) -> dict[str, str]:
        """Let nobody in any more but an account that may do this; return its variables."""
        iam = self.client("iam")
        iam.create_user(UserName="lab")
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [allowed]}
        iam.put_user_policy(UserName="lab", PolicyName="p", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="lab")["AccessKey"]
        requests.post(f"{self.address}/moto-api/reset-auth", data="0", timeout=60)
        return self.variables(key["AccessKeyId"], key["SecretAccessKey"])

    def variables(self, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
        """Return the variables that say where it is, and who we are."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "eu-central-1",
        }

    @contextmanager
    def account(self, **variables: str) -> Iterator[None]:
        """Be an account of it until the block ends; by default one that may do all."""
        with patch.dict(os.environ, variables or self.variables()):
            s3_client._client_of.cache_clear()
            yield
        s3_client._client_of.cache_clear()

    @functools.cache  # noqa: B019  a test has one or two stores
    def client(self, service: str = "s3") -> object:
        """Return a client of botocore, whatever the variables say."""
        return botocore.session.Session().create_client(
            service,
            region_name="us-east-1",
            endpoint_url=self.address,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/moto-api/", timeout=5).ok
        except requests.ConnectionError:
            assert self._process is not None
            assert self._process.poll() is None
            return False
