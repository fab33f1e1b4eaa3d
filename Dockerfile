# syntax=docker/dockerfile:1
# idem on a CPU.
#
#   docker build --tag idem .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" idem decode old.jpg

FROM python:3.12-slim AS wheels
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src /src/plugins/*/

FROM python:3.12-slim
# PyTorch for CPUs: a tenth of the default, which brings CUDA.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --torch-backend=cpu --find-links /wheels "idemcore[standard]" \
    && mkdir --mode=1777 /cache
ENV IDEM_CACHE=/cache
WORKDIR /work
USER 1000
ENTRYPOINT ["idem"]
CMD ["--help"]
