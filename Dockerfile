# The book with everything it needs, torch for a CPU:
#   docker build -t lowdose . && docker run --rm -p 127.0.0.1:8888:8888 -v lowdose-data:/data lowdose
FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home reader \
 && mkdir /book /data && chown reader:reader /book /data
USER reader
WORKDIR /book
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1 \
    LOWDOSE_DATA_DIR=/data \
    PATH=/book/.venv/bin:$PATH
COPY --chown=reader:reader . .
RUN make .venv/.done
VOLUME /data
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]
