#!/usr/bin/env bash
# What depends on the servers, on each version of them that tests/kit/servers.sh can fetch: the cases, and the connectors'
# tests. A server that cannot be had is skipped with its reason; a run that had none fails.
#
#   bash tests/matrix.sh [SERVER]...   default all: postgres-12 ... postgres-18, mysql-5.6, mysql-9.7, mariadb-11.8
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/kit/postgres.sh
. tests/kit/mysql.sh
. tests/kit/servers.sh

stop_servers() {
    stop_mysql
    stop_postgres
}

trap stop_servers EXIT
trap 'exit 130' INT TERM

servers=("$@")
[ ${#servers[@]} != 0 ] || servers=(postgres-{12,13,14,16,17,18} mysql-5.6 mysql-9.7 mariadb-11.8)
results=()
failed=0
ran=0

# Each server's tests run in a shell of their own, with its variables; the other kind of server is Debian's.
on_postgres() (
    export ROWFERRY_PG_BIN=$1
    trap stop_servers EXIT
    start_both || exit 1
    cargo test --locked --no-fail-fast -p rowferry --test cases --test cases_mysql --test failover --test turns --test examples || failed=1
    cargo test --locked --no-fail-fast -p rowferry --test lives untold || failed=1
    CASE=postgres cargo test --locked -p rowferry --test failpoints || failed=1
    cargo test --locked --no-fail-fast -p rowferry-postgres || failed=1
    exit $failed
)

on_mysql() (
    export ROWFERRY_MYSQL_SERVER=$1 ROWFERRY_MYSQL_HOME=$2
    trap stop_servers EXIT
    start_both || exit 1
    cargo test --locked --no-fail-fast -p rowferry --test cases_mysql --test mysql_lives --test mysql_check --test xa --test turns --test examples || failed=1
    cargo test --locked --no-fail-fast -p rowferry --test cases cases_into_mysql || failed=1
    CASE=mysql cargo test --locked -p rowferry --test failpoints || failed=1
    cargo test --locked --no-fail-fast -p rowferry-mysql || failed=1
    both_ways || failed=1
    exit $failed
)

# From this server into Debian's MariaDB, and back.
both_ways() {
    local this=$ROWFERRY_TEST_MYSQL pipe=$MYSQL_PIPE pid=$MYSQL_PID server=$ROWFERRY_MYSQL_SERVER home=$ROWFERRY_MYSQL_HOME
    local result=0 into='cargo test --locked -p rowferry --test cases_mysql mysql_cases_into_mysql'
    unset ROWFERRY_MYSQL_SERVER ROWFERRY_MYSQL_HOME
    if start_mysql; then
        ROWFERRY_TEST_MYSQL=$MYSQL_URL ROWFERRY_TEST_MYSQL_TARGET=$this $into || result=1
        ROWFERRY_MYSQL_SERVER=$server ROWFERRY_MYSQL_HOME=$home ROWFERRY_TEST_MYSQL_TARGET=$MYSQL_URL $into || result=1
        stop_mysql
    else
        result=1
    fi
    MYSQL_PIPE=$pipe MYSQL_PID=$pid
    return $result
}

start_both() {
    failed=0
    start_postgres "fsync = off" "full_page_writes = off" "max_wal_senders = 50" "max_replication_slots = 100" \
        "max_connections = 200" "max_wal_size = 4GB" "shared_buffers = 128MB" || return 1
    start_mysql || return 1
    export ROWFERRY_TEST_PG="$POSTGRES_URL/postgres" ROWFERRY_TEST_MYSQL=$MYSQL_URL
}

need_packages && need_mariadb
cargo test --workspace --locked --no-run

for server in "${servers[@]}"; do
    printf '\n== %s\n' "$server"
    began=$SECONDS reason=$(mktemp)
    case $server in
        postgres-*) place=$(fetch_postgres "${server#*-}" 2>"$reason") || place= ;;
        *) place=$(fetch_mysql "$server" 2>"$reason") || place= ;;
    esac
    if [ -z "$place" ]; then
        results+=("$(printf '%-14s skipped: %s' "$server" "$(tail -n 1 "$reason")")")
        cat "$reason"
    else
        result=ok ran=1
        case $server in
            postgres-*) on_postgres "$place" || result=FAILED ;;
            *) on_mysql "$server" "$place" || result=FAILED ;;
        esac
        [ $result = ok ] || failed=1
        results+=("$(printf '%-14s %-6s %4d s' "$server" $result $((SECONDS - began)))")
    fi
    rm -f "$reason"
done

printf '\n%-14s result\n' server
printf '%s\n' "${results[@]}"
[ $ran = 1 ] || { echo "error: none of these servers could be had" >&2; exit 1; }
[ $failed = 0 ] && echo "all passed" || echo "FAILED"
exit $failed
