# The operator, and `weir fetch`, which runs as init container of the model servers.
#   docker build -t weir-operator .
# Both bases need Python >= 3.11 of the same minor version at the same path; pin them by digest for a release.
ARG BASE=python:3.11-slim
ARG RUNBASE=${BASE}

FROM ${BASE} AS build
# Build arguments only: an address or a path of the build machine must not stay in the image.
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY requirements/run.txt /build/run.txt
# pip is of no use in the image. Nothing imports the synchronous half of the Kubernetes client (a third of the
# dependencies' size) but for its configuration.
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: -r /build/run.txt \
    && cd /venv/lib/python3.*/site-packages \
    && find kubernetes/client/models kubernetes/client/api -name '*.py' ! -name '__init__.py' -delete \
    && find . -depth -type d \( -name tests -o -name SelfTest -o -name 'pip' -o -name 'pip-*' -o -name 'setuptools*' \
        -o -name pkg_resources -o -name _distutils_hack -o -name __pycache__ \) -exec rm -rf {} + \
    && rm -f distutils-precedence.pth /venv/bin/pip* /venv/bin/*ctivate*
COPY operator/weir /build/weir
# Bytecode of what really gets imported, and of nothing else: the file system is read-only when it runs.
RUN mv /build/weir /venv/lib/python3.*/site-packages/ \
    && printf '#!/venv/bin/python\nfrom weir.cli.main import app\n\napp(prog_name="weir")\n' > /venv/bin/weir \
    && chmod 755 /venv/bin/weir \
    && /venv/bin/python -c 'import weir.cli.main, weir.controller.main, weir.workload.fetch, minio, oras.provider' \
    && /venv/bin/weir version

FROM ${RUNBASE}
LABEL org.opencontainers.image.title="weir-operator" \
    org.opencontainers.image.description="Progressive delivery for machine-learning models on Kubernetes" \
    org.opencontainers.image.licenses="Apache-2.0"
# HOME and USER: libraries ask for both, and the user has no entry in the password file.
ENV HOME=/tmp \
    USER=weir \
    PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /venv /venv
COPY LICENSE /licenses/LICENSE
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["weir"]
CMD ["operator"]
