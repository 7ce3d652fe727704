# Sourced by scripts (bash) that need a private PostgreSQL server: installs Debian's packages if no server is there, starts
# one on a free loopback port with its data in a temporary folder, and ends it when the script ends, however it ends.
#
#   need_packages                 installs what is missing; as root, or through sudo
#   start_postgres "SETTING=VALUE"...  sets POSTGRES_PORT, POSTGRES_URL (superuser, no database) and POSTGRES_DIR
#   stop_postgres
#
# It never touches a cluster that is there: it starts the server program itself, as nobody if we are root.

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "error: this needs root once, to install Debian packages, and there is no sudo: $*" >&2
        return 1
    fi
}

# PostgreSQL refuses to run as root.
SERVER_USER=()
[ "$(id -u)" != 0 ] || SERVER_USER=(runuser -u nobody --)

as_server_user() {
    "${SERVER_USER[@]}" "$@"
}

# The folder of the server programs: ROWFERRY_PG_BIN, else Debian's newest, else from PATH.
postgres_bin() {
    if [ -n "${ROWFERRY_PG_BIN:-}" ]; then
        echo "$ROWFERRY_PG_BIN"
        return
    fi
    local newest
    newest=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
    newest=${newest:-$(command -v initdb || true)}
    [ -n "$newest" ] && dirname "$newest"
}

need_packages() {
    local missing=()
    command -v cc >/dev/null || missing+=(build-essential)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v strace >/dev/null || missing+=(strace)
    compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || missing+=(libfaketime)
    [ -n "$(postgres_bin)" ] || missing+=(postgresql-15 postgresql-contrib)
    [ -n "$(postgres_bin)" ] && ! [ -x "$(postgres_bin)/psql" ] && ! command -v psql >/dev/null && missing+=(postgresql-client)
    [ ${#missing[@]} = 0 ] && return
    echo "installing ${missing[*]}"
    # Debian's package would create a cluster and start it on port 5432: nobody asked for that.
    local quiet=/etc/postgresql-common/createcluster.d/rowferry.conf
    as_root mkdir -p "$(dirname $quiet)"
    echo "create_main_cluster = false" | as_root tee $quiet >/dev/null
    local failed=0
    if ! install_packages "${missing[@]}"; then
        as_root apt-get update -qq && install_packages "${missing[@]}" || failed=1
    fi
    as_root rm -f $quiet
    [ $failed = 0 ] || { echo "error: apt-get could not install ${missing[*]}" >&2; return 1; }
}

install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

start_postgres() {
    local bin setting attempt
    bin=$(postgres_bin)
    POSTGRES_DIR=$(mktemp -d "${TMPDIR:-/tmp}/rowferry-pg-XXXXXX")
    [ "$(id -u)" != 0 ] || chown nobody "$POSTGRES_DIR"
    # A killed script runs no trap: this one waits for its end, away from the terminal's signals.
    setsid "${SERVER_USER[@]}" sh -c '
        tail --pid="$1" -f /dev/null
        "$2/pg_ctl" -D "$3/data" -m immediate -w stop
        rm -rf "$3"' sh $$ "$bin" "$POSTGRES_DIR" </dev/null >/dev/null 2>&1 &
    disown
    (
        cd / || exit 1
        as_server_user "$bin/initdb" -U postgres -A trust --no-sync --encoding UTF8 --locale C.UTF-8 -D "$POSTGRES_DIR/data" >/dev/null
        as_server_user tee -a "$POSTGRES_DIR/data/postgresql.conf" >/dev/null <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$POSTGRES_DIR'
wal_level = logical
timezone = 'UTC'
$(printf '%s\n' "$@")
END
    ) || return 1
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        # Below the range that the system hands out for outgoing connections.
        POSTGRES_PORT=$((20000 + (RANDOM + $$) % 12000))
        if (cd / && as_server_user "$bin/pg_ctl" -D "$POSTGRES_DIR/data" -l "$POSTGRES_DIR/server.log" \
            -o "-p $POSTGRES_PORT" -w start </dev/null >/dev/null 2>&1); then
            POSTGRES_URL="postgres://postgres@127.0.0.1:$POSTGRES_PORT"
            return
        fi
        grep -q "Address already in use" "$POSTGRES_DIR/server.log" || break
    done
    echo "error: PostgreSQL does not start:" >&2
    cat "$POSTGRES_DIR/server.log" >&2
    return 1
}

stop_postgres() {
    [ -n "${POSTGRES_DIR:-}" ] || return 0
    (cd / && as_server_user "$(postgres_bin)/pg_ctl" -D "$POSTGRES_DIR/data" -m immediate -w stop >/dev/null 2>&1) || true
    rm -rf "$POSTGRES_DIR"
    POSTGRES_DIR=
}
