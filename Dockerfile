# syntax=docker/dockerfile:1
# docker build -t YOUR/IMAGE:TAG .

# The wheel, with what requests and scrapes pass built to C: make, a C compiler and the tools of requirements.lock.
FROM python:3.12-bookworm AS build
WORKDIR /src
COPY . /src
RUN make wheel

# What runs: the wheel, and what it needs at the very versions and hashes of requirements.lock, of which
# requirements-image.lock is the part.
FROM python:3.12-slim-bookworm
COPY requirements-image.lock /requirements-image.lock
RUN python3 -m venv /opt/infscale
RUN /opt/infscale/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r /requirements-image.lock
RUN --mount=type=bind,from=build,source=/src/dist,target=/dist \
    /opt/infscale/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /dist/*.whl
# Nothing is written but to /tmp: the root file system can be read-only.
ENV PATH=/opt/infscale/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number, so that a cluster can see that it is not root.
USER 65532:65532
ENTRYPOINT ["infscale"]
CMD ["--help"]
