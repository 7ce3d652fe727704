//! New rows by LOAD DATA LOCAL: lines of fields, which take the server two thirds of what lists of literals take.
//!
//! Where a server does not take that from us, or a column's values have no field that says the same, rows go as lists.

use super::applier::MysqlApplier;
use super::shape::Shape;
use futures_util::StreamExt;
use rowferry_api::{BlockStream, Replaced, Result, Row};

/// Rows from which it pays.
const LOAD_FROM: usize = 100;

/// Bytes of lines that are sent at once.
const LOAD_BYTES: usize = 1 << 20;

/// Where new rows go.
#[derive(Debug)]
pub(super) struct Place {
    /// Database and table, quoted.
    pub(super) table: String,
    /// What the columns are called there, in the order of those that are written.
    pub(super) columns: String,
}

impl Place {
    /// `INSERT INTO t (a, b) VALUES `.
    pub(super) fn insert(&self) -> String {
        format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns)
    }

    fn load(&self) -> String {
        let Self { table, columns } = self;
        format!("LOAD DATA LOCAL INFILE 'rowferry' INTO TABLE {table} CHARACTER SET utf8mb4 ({columns})")
    }
}

/// Lines of fields that gather.
struct Lines {
    statement: String,
    bytes: Vec<u8>,
    rows: u64,
}

impl Lines {
    fn new(place: &Place) -> Self {
        Self { statement: place.load(), bytes: Vec::new(), rows: 0 }
    }
}

impl MysqlApplier {
    /// Writes rows that are new there.
    pub(super) async fn put_new(&mut self, shape: &Shape, place: &Place, rows: &[Row]) -> Result<()> {
        if !self.loads(shape) || rows.len() < LOAD_FROM {
            return self.insert(shape, &place.insert(), rows, "").await;
        }
        let mut lines = Lines::new(place);
        for row in rows {
            shape.put_fields(row, &mut lines.bytes)?;
            lines.rows += 1;
            self.load_from(shape, &mut lines, LOAD_BYTES).await?;
        }
        self.load_from(shape, &mut lines, 1).await
    }

    /// Writes blocks of rows that are new there.
    pub(super) async fn put_blocks(
        &mut self,
        shape: &Shape,
        place: &Place,
        mut blocks: BlockStream<'_>,
        replaced: &mut Replaced,
    ) -> Result<()> {
        let (head, limit) = (place.insert(), self.session.statement_bytes());
        let mut lines = self.loads(shape).then(|| Lines::new(place));
        let (mut statement, mut scratch) = (Vec::new(), Vec::new());
        while let Some(block) = blocks.next().await {
            let block = block?;
            replaced.rows += block.rows;
            replaced.bytes += block.data.len() as u64;
            for line in block.lines() {
                if let Some(lines) = &mut lines {
                    shape.put_line_of_fields(line, &mut scratch, &mut lines.bytes)?;
                    lines.rows += 1;
                    self.load_from(shape, lines, LOAD_BYTES).await?;
                    continue;
                }
                // A long row goes by itself.
                if !statement.is_empty() && statement.len() + line.len() > limit {
                    self.send(shape, &mut statement, "").await?;
                }
                statement.extend_from_slice(if statement.is_empty() { head.as_bytes() } else { b"," });
                shape.put_line(line, &mut scratch, &mut statement)?;
            }
        }
        if let Some(lines) = &mut lines {
            self.load_from(shape, lines, 1).await?;
        }
        self.send(shape, &mut statement, "").await
    }

    fn loads(&self, shape: &Shape) -> bool {
        self.session.takes_lines && shape.has_lines
    }

    /// Sends lines and empties them, if there are so many bytes.
    async fn load_from(&mut self, shape: &Shape, lines: &mut Lines, bytes: usize) -> Result<()> {
        if lines.bytes.len() < bytes {
            return Ok(());
        }
        let sent = std::mem::replace(&mut lines.bytes, Vec::with_capacity(LOAD_BYTES + LOAD_BYTES / 8));
        let rows = std::mem::take(&mut lines.rows);
        self.session.load(&shape.context, &lines.statement, sent, rows).await
    }
}
