//! Bytes of standard input or a file, read by a thread of their own: such reads block, and nothing can wake them.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::super::exit::Ended;

/// Bytes of one read, at most.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Blocks that may be read ahead.
const BLOCKS_MAX: usize = 4;

/// Where the bytes come from.
#[derive(Debug)]
pub(super) struct Source {
    blocks: mpsc::Receiver<io::Result<Vec<u8>>>,
    name: String,
    is_terminal: bool,
}

impl Source {
    /// Begins to read this file, or standard input; `-` is standard input too. The topic is for advice.
    pub(super) fn open(file: Option<PathBuf>, topic: &str) -> anyhow::Result<Self> {
        let file = file.filter(|path| path != Path::new("-"));
        let is_terminal = file.is_none() && io::stdin().is_terminal();
        let (name, reader): (String, Box<dyn Read + Send>) = match file {
            Some(path) => {
                let name = path.display().to_string();
                let file = File::open(&path).map_err(|error| unreadable(&name, topic, &error))?;
                (name, Box::new(file))
            }
            None => ("standard input".to_owned(), Box::new(io::stdin())),
        };
        let (sender, blocks) = mpsc::channel(BLOCKS_MAX);
        std::thread::Builder::new()
            .name("streamd-input".to_owned())
            .spawn(move || read_all(reader, &sender))
            .context("cannot start the thread that reads")?;
        Ok(Self { blocks, name, is_terminal })
    }

    /// Whether somebody types it.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next bytes; `None` at the end. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<anyhow::Result<Vec<u8>>> {
        let block = self.blocks.recv().await?;
        Some(block.with_context(|| format!("cannot read {}", self.name)))
    }
}

/// What a newcomer has to hear: behind the topic stands a file, not a record.
fn unreadable(name: &str, topic: &str, error: &io::Error) -> Ended {
    if error.kind() != io::ErrorKind::NotFound {
        return Ended::Refused(format!("cannot read {name}: {error}"));
    }
    let advice = if name.contains('/') {
        String::new()
    } else {
        format!(
            " The word behind the topic names a file; to send it as a record: echo '{name}' | streamd produce {topic}"
        )
    };
    Ended::Refused(format!("cannot read {name}: there is no such file.{advice}"))
}

fn read_all(mut reader: Box<dyn Read + Send>, sender: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut block = vec![0; BLOCK_BYTES_MAX];
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) => return,
            Ok(bytes) => Ok(block.get(..bytes).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if sender.blocking_send(read).is_err() || failed {
            return;
        }
    }
}
