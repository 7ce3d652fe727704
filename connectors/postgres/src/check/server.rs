//! The server's settings and what our user may do.

use crate::connection::quote_name;
use rowferry_api::Finding;
use tokio_postgres::Row;

const OLDEST: i32 = 120_000;
/// Logical decoding on a standby.
const WITH_STANDBYS: i32 = 160_000;

/// On Amazon RDS a role of theirs stands for the attribute.
pub(super) const SERVER: &str = "
    SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
           current_setting('wal_level'), pg_is_in_recovery(),
           current_setting('max_replication_slots')::int8, (SELECT count(*) FROM pg_replication_slots),
           current_setting('max_wal_senders')::int8, (SELECT count(*) FROM pg_stat_replication),
           r.rolreplication OR r.rolsuper OR EXISTS (
               SELECT FROM pg_roles a WHERE a.rolname = 'rds_replication' AND pg_has_role(a.oid, 'USAGE')),
           current_user::text, current_database()::text, has_database_privilege(current_database(), 'CREATE'),
           coalesce(current_setting('max_slot_wal_keep_size', true), '-1'),
           coalesce(current_setting('idle_replication_slot_timeout', true), '0'),
           current_setting('server_encoding')
    FROM pg_roles r WHERE r.rolname = current_user";

/// The answer to [`SERVER`].
pub(super) struct Server {
    pub version: i32,
    version_text: String,
    wal_level: String,
    pub standby: bool,
    slots: i64,
    used_slots: i64,
    senders: i64,
    used_senders: i64,
    may_replicate: bool,
    pub user: String,
    pub database: String,
    pub may_create: bool,
    max_slot_wal_keep_size: String,
    idle_slot_timeout: String,
    encoding: String,
}

impl From<&Row> for Server {
    fn from(row: &Row) -> Self {
        Self {
            version: row.get(0),
            version_text: row.get(1),
            wal_level: row.get(2),
            standby: row.get(3),
            slots: row.get(4),
            used_slots: row.get(5),
            senders: row.get(6),
            used_senders: row.get(7),
            may_replicate: row.get(8),
            user: row.get(9),
            database: row.get(10),
            may_create: row.get(11),
            max_slot_wal_keep_size: row.get(12),
            idle_slot_timeout: row.get(13),
            encoding: row.get(14),
        }
    }
}

impl Server {
    pub(super) fn findings(&self, has_slot: bool) -> Vec<Finding> {
        let mut findings = vec![self.about_version(), self.about_wal_level()];
        findings.extend(self.about_role());
        findings.extend(self.about_room(has_slot));
        if !self.may_replicate {
            let mend = format!("ALTER ROLE {} REPLICATION;", quote_name(&self.user));
            findings.push(Finding::blocked("source rights", format!("user {} may not replicate", self.user), mend));
        }
        findings.extend(self.about_limits());
        if self.encoding == "SQL_ASCII" {
            let what =
                "the database's encoding is SQL_ASCII: text that is not UTF-8 cannot be carried and halts its table";
            findings.push(Finding::warning("source encoding", what, None));
        }
        findings
    }

    fn about_version(&self) -> Finding {
        let subject = "source version";
        if self.version < OLDEST {
            let what = format!("PostgreSQL {} is too old", self.version_text);
            return Finding::blocked(subject, what, "upgrade it: PostgreSQL 12 to 18 can be replicated from");
        }
        Finding::ok(subject, format!("PostgreSQL {}", self.version_text))
    }

    fn about_wal_level(&self) -> Finding {
        let subject = "source wal_level";
        if self.wal_level == "logical" {
            return Finding::ok(subject, "logical");
        }
        let what = format!("it is {}; the log must carry logical changes", self.wal_level);
        Finding::blocked(subject, what, "ALTER SYSTEM SET wal_level = logical; -- then restart the server")
    }

    fn about_role(&self) -> Option<Finding> {
        let subject = "source role";
        match self.standby {
            false => None,
            true if self.version < WITH_STANDBYS => {
                let what = "it is a standby, and before PostgreSQL 16 the log can be decoded on a primary only";
                Some(Finding::blocked(subject, what, "point `source` to the primary"))
            }
            true => {
                let what = "it is a standby: the publication has to be made on the primary, making a slot waits for the primary, \
                            and the slot is lost if the primary removes what the standby needs";
                Some(Finding::warning(subject, what, Some("on the primary: SELECT pg_log_standby_snapshot();".into())))
            }
        }
    }

    fn about_room(&self, has_slot: bool) -> Vec<Finding> {
        let full = |setting: &str, limit: i64| {
            let mend = format!("ALTER SYSTEM SET {setting} = {}; -- then restart the server", limit + 4);
            Finding::blocked(format!("source {setting}"), format!("all {limit} are in use"), mend)
        };
        let slots = (!has_slot && self.used_slots >= self.slots).then(|| full("max_replication_slots", self.slots));
        let senders = (self.used_senders >= self.senders).then(|| full("max_wal_senders", self.senders));
        slots.into_iter().chain(senders).collect()
    }

    fn about_limits(&self) -> Vec<Finding> {
        let limit = |setting: &str, value: &str, beyond: &str, off: &str| {
            let what = format!(
                "it is {value}: {beyond} the server gives the slot up, and every table has to be compared again"
            );
            let mend = format!(
                "ALTER SYSTEM SET {setting} = {off}; SELECT pg_reload_conf(); -- or see that rowferry keeps up"
            );
            Finding::warning(format!("source {setting}"), what, Some(mend))
        };
        let mut findings = Vec::new();
        if self.max_slot_wal_keep_size != "-1" {
            findings.push(limit("max_slot_wal_keep_size", &self.max_slot_wal_keep_size, "with more unread log", "-1"));
        }
        if self.idle_slot_timeout.trim_start_matches('0').starts_with(|char: char| char.is_ascii_digit()) {
            findings.push(limit("idle_replication_slot_timeout", &self.idle_slot_timeout, "unread for longer", "0"));
        }
        findings
    }
}
