# Everything a user or a contributor types. Each target works from a fresh clone, and again.
PYTHON ?= python3
PIP = .venv/bin/pip --disable-pip-version-check
APT = $(shell [ "$$(id -u)" = 0 ] || echo sudo -n) env DEBIAN_FRONTEND=noninteractive apt-get -q

.PHONY: setup run test check bench soak docs ndpi cluster owners screenshots clean lock secrets

setup: .venv/installed
	@.venv/bin/python -m mt_pipeline.service.setup

run: setup
	@exec .venv/bin/mt-pipeline run

# Two processes share the files, in their order: servers and browsers of a folder are started once in each.
test: setup ndpi cluster chromium postgresql redis luaposix bubblewrap
	.venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pip check
	! grep -nE 'https?://|--(extra-)?index-url|--find-links' requirements.lock requirements-cluster.lock

bench: setup
	.venv/bin/python -m mt_pipeline_tests.bench

# Kills, full disks, outages, a jumping clock, over hundreds of captures; takes an hour or two, and root for the small disk.
soak: setup cluster postgresql redis
	@command -v faketime >/dev/null || { echo "make soak: installing faketime"; $(APT) update >/dev/null && $(APT) install -y --no-install-recommends faketime >/dev/null; }
	.venv/bin/python -m mt_pipeline_tests.soak

# Writes the pages that are made from the code: settings and columns.
docs: .venv/installed
	.venv/bin/python -m mt_pipeline_tests.docs

# Installs the provider ndpi: nDPI, under the LGPL, in the wheel of nfstream.
ndpi: .venv/installed
	@.venv/bin/python -c 'import nfstream' 2>/dev/null || $(PIP) install --quiet 'nfstream>=6.6,<7'

# Installs what several machines need: Celery, the client of Redis, and what talks to object stores.
cluster: .venv/installed-cluster

.venv/installed-cluster: .venv/installed requirements-cluster.lock
	@$(PIP) install --quiet --no-deps --require-hashes -r requirements-cluster.lock
	@touch $@

# Renews the table of networks and the list of companies, from two packages of npm, whatever registry npm is set up for.
owners: .venv/installed
	.venv/bin/python -m mt_pipeline_tests.owners

# Renews the pictures of the README, from captures that are built by code.
screenshots: setup chromium
	.venv/bin/python -m mt_pipeline_tests.screenshots

# Makes the secrets of compose.yml, compose.cluster.yml and kubernetes/ that are not there: of what `.env` says of them, as it did in earlier releases, else of chance.
SECRETS = mt_questdb_password mt_questdb_reader_password postgres_password gf_security_admin_password gf_rendering_renderer_token mt_broker_password
secrets:
	@mkdir -p secrets && chmod 700 secrets
	@for name in $(SECRETS) mt_netify_api_key; do \
		if [ -e secrets/$$name ]; then continue; fi; \
		value=$$(sed -n "s/^$$(echo $$name | tr a-z A-Z)=//p" .env 2>/dev/null | tail -n 1 | sed "s/^'\(.*\)'$$/\1/; s/^\"\(.*\)\"$$/\1/"); \
		case $$name in mt_netify_api_key) ;; *) value=$${value:-$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')} ;; esac; \
		printf %s "$$value" > secrets/$$name && chmod 644 secrets/$$name && echo "make secrets: secrets/$$name"; \
	done

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './data/*' -prune -exec rm -rf {} +

# Renews the versions within the limits of pyproject.toml; the lock holds versions and hashes, no address.
lock: .venv/installed
	.venv/bin/uv pip compile pyproject.toml --extra dev --extra mcp --extra server --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock
	.venv/bin/uv pip compile pyproject.toml --extra cluster --extra s3 --constraint requirements.lock --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements-cluster.lock

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("make setup: Python 3.11 to 3.14 is needed, this is %d.%d; name another by PYTHON=python3.11" % sys.version_info[:2] if not (3, 11) <= sys.version_info < (3, 15) else 0)'
	@echo "make setup: virtual environment in .venv"
	@$(PYTHON) -m venv .venv || { echo "make setup: installing python3-venv"; $(APT) update && $(APT) install -y python3-venv && $(PYTHON) -m venv .venv; }
	@echo "make setup: Python packages, about a minute"
	@$(PIP) install --quiet --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Tests and screenshots look at pages in a real browser, and start what compose.yml starts, Postgres included. Tests want a tshark that forks, in a sandbox.
.PHONY: chromium postgresql redis luaposix bubblewrap
chromium:
	@command -v chromedriver >/dev/null || { echo "make: installing chromium"; $(APT) update >/dev/null && $(APT) install -y --no-install-recommends chromium chromium-driver >/dev/null; }

postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { echo "make test: installing postgresql"; $(APT) update >/dev/null && $(APT) install -y --no-install-recommends postgresql >/dev/null; }

redis:
	@command -v redis-server >/dev/null || { echo "make test: installing redis-server"; $(APT) update >/dev/null && $(APT) install -y --no-install-recommends redis-server >/dev/null; }

luaposix:
	@dpkg -s lua-posix >/dev/null 2>&1 || { echo "make test: installing lua-posix"; $(APT) update >/dev/null && $(APT) install -y --no-install-recommends lua-posix >/dev/null; }

bubblewrap:
	@command -v bwrap >/dev/null || { echo "make test: installing bubblewrap"; $(APT) update >/dev/null && $(APT) install -y --no-install-recommends bubblewrap >/dev/null; }
