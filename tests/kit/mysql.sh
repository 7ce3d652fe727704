# Sourced by scripts (bash), after postgres.sh, that need a private MySQL or MariaDB server: the one that
# ROWFERRY_MYSQL_SERVER and ROWFERRY_MYSQL_HOME name (docs/testing.md), else Debian's MariaDB, installed if it is not there.
#
#   need_mariadb                  installs the server's programs; as root, or through sudo
#   start_mysql [OPTION]...       sets MYSQL_URL (root, no database)
#   stop_mysql
#
# The server is the test kit's, so it ends with the script, however that ends. Its program is one that
# `cargo test --workspace --no-run` has built.

need_mariadb() {
    [ -z "${ROWFERRY_MYSQL_HOME:-}" ] || return 0
    PATH="$PATH:/usr/sbin:/usr/libexec" command -v mariadbd >/dev/null && return
    # The programs only: Debian's mariadb-server would start a service.
    echo "installing mariadb-server-core"
    install_packages mariadb-server-core && return
    as_root apt-get update -qq && install_packages mariadb-server-core && return
    echo "error: apt-get could not install mariadb-server-core" >&2
    return 1
}

start_mysql() {
    local said program=${CARGO_TARGET_DIR:-target}/debug/rowferry-test-mysql
    [ -x "$program" ] || { echo "error: no $program: cargo test --workspace --no-run" >&2; return 1; }
    said=$(mktemp)
    # It serves until this pipe ends.
    exec {MYSQL_PIPE}> >(exec "$program" "$@" >"$said" 2>&1)
    MYSQL_PID=$!
    until MYSQL_URL=$(grep -m 1 '^mysql://' "$said"); do
        if ! kill -0 "$MYSQL_PID" 2>/dev/null; then
            echo "error: the MySQL server does not start:" >&2
            cat "$said" >&2
            rm -f "$said"
            return 1
        fi
        sleep 0.1
    done
    rm -f "$said"
}

stop_mysql() {
    [ -n "${MYSQL_PIPE:-}" ] || return 0
    exec {MYSQL_PIPE}>&-
    MYSQL_PIPE=
    wait "$MYSQL_PID" 2>/dev/null || true
}
