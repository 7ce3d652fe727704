//! A private MySQL or MariaDB server for scripts: `rowferry-test-mysql [OPTION]...` says its URL and serves until its
//! standard input ends. Nothing else of the kit is for scripts.

use rowferry_testkit::Mysql;
use std::io;

fn main() -> io::Result<()> {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let server = Mysql::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    println!("{}", server.url(""));
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
