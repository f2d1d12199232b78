# syntax=docker/dockerfile:1
# The image holds the program, the system's CA certificates and glibc; no shell, no root.
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive a build, so that a change of the sources compiles only this crate again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin insights-agent \
    && cp target/release/insights-agent /insights-agent

# The same Debian release as the build's, so that the glibc matches.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /insights-agent /insights-agent
ENTRYPOINT ["/insights-agent"]
CMD ["run"]
