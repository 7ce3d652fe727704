//! PostgreSQL as a target.
//!
//! `applier` writes batches, `replace` ranges, `ddl` makes and alters tables, `fit` says whether a table that is there will
//! do. rowferry's own table is `rowferry.positions`.

mod applier;
mod binary;
mod ddl;
mod fit;
mod foreign;
mod replace;
mod rows;

use crate::connection::{ConnectOptions, from_pg, quote_table};
use crate::table_reader::PostgresTableReader;
use applier::PostgresApplier;
use async_trait::async_trait;
use futures_util::future::join;
use rowferry_api::{
    Applier, Capabilities, Finding, HeldPosition, Identity, KnownTables, Position, Result, TableName, TableReader,
    TableSchema, Target, failpoint,
};
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// What the configuration says of a target.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// Where the server is.
    pub url: String,
}

/// A PostgreSQL server, 12 to 18.
pub struct PostgresTarget {
    connect: ConnectOptions,
    known: Arc<KnownTables>,
}

/// Connections that gain from writing side by side.
const WRITERS: usize = 16;

impl PostgresTarget {
    /// Reads the options. Connects to nothing.
    pub fn new(options: TargetOptions) -> Result<Self> {
        Ok(Self { connect: ConnectOptions::parse(&options.url)?, known: Arc::default() })
    }
}

async fn identity_of(client: &Client) -> Result<Identity> {
    let row = client
        .query_one(
            "SELECT (SELECT system_identifier FROM pg_control_system())::text, oid::text FROM pg_database \
             WHERE datname = current_database()",
            &[],
        )
        .await
        .map_err(|error| from_pg("ask the target who it is", error))?;
    Ok(Identity::new(format!("postgres:{}:{}", row.get::<_, String>(0), row.get::<_, String>(1))))
}

async fn has_positions(client: &Client) -> Result<bool> {
    let row = client
        .query_one("SELECT to_regclass('rowferry.positions') IS NOT NULL", &[])
        .await
        .map_err(|error| from_pg("look for the table rowferry.positions", error))?;
    Ok(row.get(0))
}

/// The same in every process and version: FNV-1a of 64 bits.
fn hash_of(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A role or a database may say that a commit need not be on disk when it returns; the source's log is confirmed then.
async fn make_commits_durable(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        )
        .await
        .map_err(|error| from_pg("set up a session at the target", error))
}

#[async_trait]
impl Target for PostgresTarget {
    fn describe(&self) -> String {
        self.connect.describe()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { transactions: true, transactional_ddl: true, parallel_writers: WRITERS }
    }

    fn table_name(&self, source: &TableName) -> TableName {
        source.clone()
    }

    fn parse_name(&self, text: &str, source: &TableName) -> TableName {
        match text.split_once('.') {
            Some((schema, name)) => TableName::new(schema, name),
            None => TableName::new(source.schema.clone(), text),
        }
    }

    async fn identity(&self) -> Result<Option<Identity>> {
        let client = self.connect.connect().await?;
        identity_of(&client).await.map(Some)
    }

    async fn ping(&self) -> Result<()> {
        self.connect.connect().await.map(drop)
    }

    async fn check(&self, tables: &[TableSchema]) -> Result<Vec<Finding>> {
        fit::check(&self.connect.connect().await?, tables).await
    }

    async fn position(&self, pipeline: &str) -> Result<Option<HeldPosition>> {
        let client = self.connect.connect().await?;
        if !has_positions(&client).await? {
            return Ok(None);
        }
        let row = client
            .query_opt("SELECT source, position FROM rowferry.positions WHERE pipeline = $1", &[&pipeline])
            .await
            .map_err(|error| from_pg("read the position in the target", error))?;
        Ok(row.map(|row| HeldPosition {
            source: Identity::new(row.get::<_, String>(0)),
            position: Position::new(row.get::<_, String>(1)),
        }))
    }

    async fn prepare(&self, pipeline: &str, source: &Identity, position: &Position, anew: bool) -> Result<Identity> {
        let client = self.connect.connect().await?;
        make_commits_durable(&client).await?;
        if !has_positions(&client).await? {
            client
                .batch_execute(
                    "CREATE SCHEMA IF NOT EXISTS rowferry; \
                     CREATE TABLE IF NOT EXISTS rowferry.positions (pipeline text PRIMARY KEY, source text NOT NULL, \
                     position text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())",
                )
                .await
                .map_err(|error| from_pg("create rowferry's own table in the target", error))?;
        }
        failpoint!("postgres.prepared");
        let action = if anew { "UPDATE SET source = EXCLUDED.source, position = EXCLUDED.position" } else { "NOTHING" };
        client
            .execute(
                &format!(
                    "INSERT INTO rowferry.positions (pipeline, source, position) VALUES ($1, $2, $3) \
                     ON CONFLICT (pipeline) DO {action}"
                ),
                &[&pipeline, &source.as_str(), &position.as_str()],
            )
            .await
            .map_err(|error| from_pg("write the first position into the target", error))?;
        identity_of(&client).await
    }

    async fn open_applier(&self, pipeline: &str) -> Result<Box<dyn Applier>> {
        let (options, known) = (self.connect.clone(), self.known.clone());
        Ok(Box::new(PostgresApplier::open(options, pipeline, known, Arc::default()).await?))
    }

    async fn open_tables(&self) -> Result<Box<dyn TableReader>> {
        Ok(Box::new(PostgresTableReader::open(self.connect.clone(), Arc::default()).await?))
    }
}

/// A target's table as it is.
#[derive(Debug, Clone)]
pub(crate) struct TargetTable {
    pub oid: u32,
    /// `schema.table`, quoted.
    pub quoted: String,
    pub partitioned: bool,
    /// COPY writes it as INSERT does: no rule rewrites it, no policy guards its rows, no trigger stands before the statement.
    pub takes_copy: bool,
    pub columns: Vec<TargetColumn>,
}

impl TargetTable {
    /// As it stands in statements that would touch tables that inherit from it in the old way too: those are tables of
    /// their own, and a partitioned table's partitions are not.
    pub(crate) fn only(&self) -> String {
        if self.partitioned { self.quoted.clone() } else { format!("ONLY {}", self.quoted) }
    }
}

/// A column of it.
#[derive(Debug, Clone)]
pub(crate) struct TargetColumn {
    pub name: String,
    pub type_oid: u32,
    /// Its type with its numbers.
    pub native: String,
    /// Its type without its numbers: casting to it cuts nothing.
    pub bare: String,
    pub not_null: bool,
    pub has_default: bool,
    pub generated: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub always_identity: bool,
    /// The operator by which an index of a key tells its values apart: `=`, or one of an extension, which is not found with
    /// an empty search_path.
    pub equals: String,
    /// Values that are equal may read differently: 1 and 1.0.
    pub has_forms: bool,
}

/// The equality of a column's type where a unique index holds it and it is not PostgreSQL's own.
const EQUALS: &str = "
    SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) AS k(attnum, opclass)
    JOIN pg_opclass c ON c.oid = k.opclass
    JOIN pg_am am ON am.oid = c.opcmethod AND am.amname = 'btree'
    JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
         AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
    JOIN pg_operator o ON o.oid = m.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace AND n.nspname <> 'pg_catalog'
    WHERE i.indrelid = a.attrelid AND k.attnum = a.attnum AND i.indisunique AND i.indisvalid
    ORDER BY i.indisprimary DESC LIMIT 1";

/// What kind of tables they are, those that are there. A trigger before each INSERT statement may refuse a COPY before the first row, and the
/// library would take each later answer for that of the statement before.
const KINDS: &str = "
    SELECT n.place, c.oid, c.relkind = 'p', c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT c.relrowsecurity
           AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgtype & 7 = 6 AND g.tgenabled <> 'D')
    FROM unnest($1::text[]) WITH ORDINALITY AS n(name, place) JOIN pg_class c ON c.oid = to_regclass(n.name)";

/// Whether values of a column that are equal may read differently: all but these types, and what a collation of its own makes equal.
const HAS_FORMS: &str = "
    a.atttypid <> ALL ('{int2,int4,int8,oid,bool,uuid,bytea,date,time,timestamp,timestamptz,text,varchar,bpchar}'::regtype[]::oid[])
    OR EXISTS (SELECT FROM pg_collation l WHERE l.oid = a.attcollation AND NOT l.collisdeterministic)";

fn columns_statement() -> String {
    format!(
        "SELECT n.place, a.attname::text, a.atttypid, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), a.attnotnull,
                a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a', coalesce(({EQUALS}), '='),
                {HAS_FORMS}
         FROM unnest($1::text[]) WITH ORDINALITY AS n(name, place) JOIN pg_attribute a ON a.attrelid = to_regclass(n.name)
         WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY n.place, a.attnum"
    )
}

/// Looks tables up, all of a batch with the same two statements.
#[derive(Clone)]
pub(crate) struct Look {
    kinds: Statement,
    columns: Statement,
}

impl Look {
    pub(crate) async fn prepare(client: &Client) -> Result<Self> {
        let failed = |error| from_pg("look at the target's tables", error);
        let kinds = client.prepare(KINDS).await.map_err(failed)?;
        let columns = client.prepare(&columns_statement()).await.map_err(failed)?;
        Ok(Self { kinds, columns })
    }

    /// Looks tables up, in their order; `None` of each that is not there.
    pub(crate) async fn tables(&self, client: &Client, names: &[&TableName]) -> Result<Vec<Option<TargetTable>>> {
        let quoted: Vec<String> = names.iter().map(|name| quote_table(name)).collect();
        let parameters: [&(dyn ToSql + Sync); 1] = [&quoted];
        let (kinds, columns) =
            join(client.query(&self.kinds, &parameters), client.query(&self.columns, &parameters)).await;
        let failed = |error| match names {
            [name] => from_pg(format!("look at table {name} in the target"), error),
            _ => from_pg("look at tables in the target", error),
        };
        let (kinds, columns) = (kinds.map_err(failed)?, columns.map_err(failed)?);
        let place = |row: &Row| usize::try_from(row.get::<_, i64>(0) - 1).ok();
        let mut tables: Vec<Option<TargetTable>> = names.iter().map(|_| None).collect();
        for row in &kinds {
            if let Some(at) = place(row) {
                let (quoted, columns) = (quoted[at].clone(), Vec::new());
                let (oid, partitioned, takes_copy) = (row.get(1), row.get(2), row.get(3));
                tables[at] = Some(TargetTable { oid, quoted, partitioned, takes_copy, columns });
            }
        }
        for row in &columns {
            if let Some(Some(table)) = place(row).map(|at| &mut tables[at]) {
                table.columns.push(TargetColumn {
                    name: row.get(1),
                    type_oid: row.get(2),
                    native: row.get(3),
                    bare: row.get(4),
                    not_null: row.get(5),
                    has_default: row.get(6),
                    generated: row.get(7),
                    always_identity: row.get(8),
                    equals: row.get(9),
                    has_forms: row.get(10),
                });
            }
        }
        Ok(tables)
    }
}

/// Looks one table up; `None` if it is not there.
pub(crate) async fn look(client: &Client, name: &TableName) -> Result<Option<TargetTable>> {
    Ok(Look::prepare(client).await?.tables(client, &[name]).await?.pop().flatten())
}
