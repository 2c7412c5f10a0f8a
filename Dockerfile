FROM python:3.13-slim AS build
WORKDIR /src
# Everything is pinned by hash (make lock). One package has no wheel: it is built by the pinned
# backend, as the project is.
ENV PIP_NO_CACHE_DIR=1
COPY requirements requirements
RUN pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && pip wheel --require-hashes --only-binary :all: --no-binary openapi-ui-bundles \
        --no-deps --no-build-isolation --wheel-dir packages -r requirements/run.txt \
    && python -m venv --without-pip /opt/segsvc \
    && pip --python /opt/segsvc/bin/python install --no-index --no-deps packages/*.whl
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY segsvc segsvc
COPY sql sql
COPY migrations migrations
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/segsvc/bin/python install --no-index --no-deps dist/*.whl

FROM python:3.13-slim
COPY --from=build /opt/segsvc /opt/segsvc
# LOGNAME: yoyo records who migrates, and the user below has no name.
ENV PATH=/opt/segsvc/bin:$PATH \
    LOGNAME=segsvc \
    PYTHONUNBUFFERED=1 \
    SEGSVC_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('SEGSVC_PORT', '8080') + '/healthz', timeout=2)"]
ENTRYPOINT ["segsvc"]
CMD ["serve"]
