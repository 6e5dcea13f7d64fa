# syntax=docker/dockerfile:1
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/* \
 && python -m venv /opt/twinport
COPY requirements.lock ./
RUN /opt/twinport/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY tools/build_native.py tools/
COPY service service
COPY mappings mappings
COPY privacy privacy
COPY twin_engine twin_engine
RUN /opt/twinport/bin/pip install --no-build-isolation --no-deps . \
 && /opt/twinport/bin/python -m compileall -q /opt/twinport/lib

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="Twinport" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 twinport \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin twinport \
 && install -d -m 0700 -o twinport -g twinport /var/lib/twinport
COPY --from=build /opt/twinport /opt/twinport
# The root file system may be read-only: everything that is written goes to /var/lib/twinport (a volume) and /tmp (tmpfs).
ENV PATH=/opt/twinport/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TWINPORT_HOME=/var/lib/twinport
USER 10001:10001
VOLUME /var/lib/twinport
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["twinport"]
# Where TLS ends must be stated (TWINPORT_WEB__TLS=proxy) before it listens beyond loopback: see compose.yaml.
CMD ["serve", "--port", "8080"]
