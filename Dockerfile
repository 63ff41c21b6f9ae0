# pillion: one static binary and the CA roots, nothing else.
#
#     docker build -t pillion .
#
# Needs no BuildKit. Without a registry, `tests/make-base-image` makes the first image on this machine.

ARG RUST_IMAGE=rust:1.95-slim-bookworm

# ---------------------------------------------------------------------------------------------------------------------
FROM ${RUST_IMAGE} AS build
LABEL pillion.stage="build"
WORKDIR /src

# Static, position independent. The target is named so that build scripts and macros stay dynamic, which they must.
# Relocations are packed, and functions that are the same become one, which only the linker of x86_64 (lld) can do: 1.26 of
# 16.25 MB.
# aws-lc without its tables and code for AVX-512: a handshake takes fractions of a millisecond more, 1 MB is not there.
ENV CARGO_TERM_COLOR=never AWS_LC_SYS_SMALL=1
RUN rustc -vV | sed -n 's/^host: //p' > /target-triple \
    && case "$(cat /target-triple)" in x86_64-*) icf=', "-Clink-arg=-Wl,--icf=all"' ;; esac \
    && mkdir /src/.cargo \
    && printf '[target.%s]\nrustflags = ["-Ctarget-feature=+crt-static", "-Clink-arg=-Wl,-z,pack-relative-relocs"%s]\n' \
        "$(cat /target-triple)" "${icf:-}" > /src/.cargo/config.toml

# First the dependencies alone, against empty sources: this layer is kept until a Cargo.toml or Cargo.lock change. Targets
# that a manifest names one by one ([[bench]], [[test]], ..) are taken out of it: their files are not here.
COPY Cargo.toml Cargo.lock ./
COPY agent/Cargo.toml agent/
COPY examples/Cargo.toml examples/
COPY tests/Cargo.toml tests/
RUN mkdir agent/src examples/src tests/src \
    && for member in agent examples tests; do \
        awk '/^\[/ { named = /^\[\[/ } !named' "$member/Cargo.toml" > /tmp/manifest && cp /tmp/manifest "$member/Cargo.toml" || exit 1; \
    done \
    && touch agent/src/lib.rs examples/src/lib.rs tests/src/lib.rs \
    && echo 'fn main() {}' > agent/src/main.rs \
    && cargo build --release --locked --package pillion --target "$(cat /target-triple)"

# Then our own code. Copied files keep their old times, which cargo would take for "built already": hence the touch.
COPY agent/build.rs agent/build.rs
COPY agent/src agent/src
RUN touch agent/src/lib.rs agent/src/main.rs \
    && cargo build --release --locked --package pillion --target "$(cat /target-triple)" \
    && cp "target/$(cat /target-triple)/release/pillion" /pillion \
    && if ldd /pillion 2>&1 | grep -q '=>'; then echo "the binary is not static" >&2; exit 1; fi \
    && /pillion version

# The whole file system of the image. The names by which task definitions call AWS's images are links to the binary.
# - /var/run is a real directory: ECS mounts the one with the FireLens socket over it.
# - /run/secrets is a volume that a fresh mount takes its owner and mode from: 65532 may write, and so may root without
#   capabilities (by its group).
COPY LICENSE /root/image/LICENSE
RUN cd /root/image \
    && mkdir -p app fluent-bit/bin fluent-bit/etc init run var/run \
    && cp /pillion pillion \
    && ln -s /pillion fluent-bit/bin/fluent-bit \
    && ln -s /pillion entrypoint.sh \
    && ln -s /pillion xray \
    && ln -s /pillion healthcheck \
    && ln -s /pillion init/fluent_bit_init_entrypoint.sh \
    && ln -s /pillion app/aws-workload-credentials-provider \
    && ln -s /pillion app/aws_secretsmanager_agent \
    && mkdir -p /root/owned/secrets \
    && chmod 0775 /root/owned/secrets

# ---------------------------------------------------------------------------------------------------------------------
FROM scratch
LABEL org.opencontainers.image.title="pillion" \
      org.opencontainers.image.description="One container beside every ECS task: logs, traces, metrics and rotated secrets." \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /root/image /
COPY --from=build --chown=65532:0 /root/owned /run
VOLUME /run/secrets

# Root, because ECS agents before 2025 refuse another user for a FireLens container. Any user works, 65532 is meant.
# No EXPOSE: what is listened on is on loopback, or on the addresses that the configuration names.
STOPSIGNAL SIGTERM

# No ENTRYPOINT, as in AWS's image: a task's `command` is a whole command line there, and must stay one.
CMD ["/pillion"]
