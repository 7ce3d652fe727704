//! rowferry's own tables in the target: who the server is, where each pipeline stands, and a row for each pipeline that its
//! writers lock.

use super::ddl::create_database;
use super::session::Session;
use crate::connection::quote_text;
use rowferry_api::{HeldPosition, Identity, Position, Result};

const DATABASE: &str = "rowferry";

/// Name and columns. Texts of 191 characters are what an index of any server takes.
const TABLES: [(&str, &str); 3] = [
    (
        "positions",
        "pipeline varchar(191) NOT NULL PRIMARY KEY, source text NOT NULL, position longtext NOT NULL, \
         updated_at datetime(6) NOT NULL",
    ),
    ("writers", "pipeline varchar(191) NOT NULL PRIMARY KEY"),
    ("identity", "one tinyint NOT NULL PRIMARY KEY, id varchar(64) NOT NULL"),
];

async fn has_table(session: &mut Session, name: &str) -> Result<bool> {
    let query = format!(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        quote_text(DATABASE),
        quote_text(name)
    );
    let found: Option<u8> = session.first("look for rowferry's own tables in the target", query).await?;
    Ok(found.is_some())
}

/// Creates the tables where they are missing, and the server's identity if it has none.
pub(super) async fn create(session: &mut Session) -> Result<()> {
    let context = "create rowferry's own tables in the target";
    create_database(session, context, DATABASE).await?;
    for (name, columns) in TABLES {
        if !has_table(session, name).await? {
            let statement = format!(
                "CREATE TABLE IF NOT EXISTS {DATABASE}.{name} ({columns}) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 \
                 COLLATE utf8mb4_bin"
            );
            session.run(context, statement).await?;
        }
    }
    let statement = format!(
        "INSERT INTO {DATABASE}.identity (one, id) VALUES (1, REPLACE(UUID(), '-', '')) \
         ON DUPLICATE KEY UPDATE one = 1"
    );
    session.run(context, statement).await.map(drop)
}

/// Who the server is; `None` if it was never written to.
pub(super) async fn identity(session: &mut Session) -> Result<Option<Identity>> {
    if !has_table(session, "identity").await? {
        return Ok(None);
    }
    let query = format!("SELECT id FROM {DATABASE}.identity");
    let id: Option<String> = session.first("ask the target who it is", query).await?;
    Ok(id.map(|id| Identity::new(format!("mysql:{id}"))))
}

/// Where a pipeline stands.
pub(super) async fn held(session: &mut Session, pipeline: &str) -> Result<Option<HeldPosition>> {
    if !has_table(session, "positions").await? {
        return Ok(None);
    }
    let pipeline = quote_text(pipeline);
    let query = format!("SELECT source, position FROM {DATABASE}.positions WHERE pipeline = {pipeline}");
    let row: Option<(String, String)> = session.first("read the position in the target", query).await?;
    Ok(row.map(|(source, position)| HeldPosition { source: Identity::new(source), position: Position::new(position) }))
}

/// Makes `position` the pipeline's: if it has none yet, or `anew` whatever it has.
pub(super) async fn start(
    session: &mut Session,
    pipeline: &str,
    source: &Identity,
    position: &Position,
    anew: bool,
) -> Result<()> {
    let context = "write the first position into the target";
    let (pipeline, source) = (quote_text(pipeline), quote_text(source.as_str()));
    let position = quote_text(position.as_str());
    let action = match anew {
        true => format!("source = {source}, position = {position}, updated_at = NOW(6)"),
        false => format!("pipeline = {pipeline}"),
    };
    let writer = format!(
        "INSERT INTO {DATABASE}.writers (pipeline) VALUES ({pipeline}) ON DUPLICATE KEY UPDATE pipeline = {pipeline}"
    );
    session.run(context, writer).await?;
    let statement = format!(
        "INSERT INTO {DATABASE}.positions (pipeline, source, position, updated_at) VALUES ({pipeline}, {source}, {position}, \
         NOW(6)) ON DUPLICATE KEY UPDATE {action}"
    );
    session.run(context, statement).await.map(drop)
}
