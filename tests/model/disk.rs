//! A disk that forgets: which bytes and which names of a directory tree are durable, and what a power cut leaves of it.
//!
//! The test's own `fsync` and `fdatasync` stand before the system's, so every sync that the code under test makes, on
//! whatever thread, is seen here: it makes the bytes of a file durable, or the names in a directory. Nothing else does.
//! Of all the rest a power cut leaves any part: of a file's unsynced bytes any prefix, any sectors, zeros in between; of
//! the names that changed since their directory was synced, any.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use streamd::storage::layout::MANIFEST;

use crate::random::Random;

/// Names in a directory, and the files that they stand for.
type Names = BTreeMap<String, u64>;
/// Directories by their path below the root, which itself is "".
type Dirs = BTreeMap<String, Names>;
/// What files hold, by their number.
type Bytes = HashMap<u64, Vec<u8>>;
/// Files by their path below the root.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

const SECTOR: usize = 512;

/// A directory tree, with what of it is durable.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    state: Mutex<State>,
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    names: Dirs,
    bytes: Bytes,
    /// Files that were ever synced stay open, so that no other file gets their numbers.
    pins: HashMap<u64, File>,
    /// Syncs until the next look: before the sync, or behind it.
    look: Option<(u64, bool)>,
    seen: Option<Moment>,
}

/// A tree at a moment: what is durable of it, and what the system shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moment {
    durable: (Dirs, Bytes),
    shown: (Dirs, Bytes),
}

/// What becomes of what is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// A kill: the system has all of it.
    Kill,
    /// Nothing of it had reached the disk.
    Nothing,
    /// Any of it had.
    Anything,
}

impl Disk {
    /// A tree with these files, all durable.
    pub(crate) fn with(root: &Path, image: &Image) -> Arc<Self> {
        for (path, bytes) in image {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            fs::write(path, bytes).expect("a file");
        }
        let disk = Arc::new(Self {
            root: fs::canonicalize(root).expect("the root"),
            state: Mutex::default(),
            full: AtomicBool::new(false),
        });
        {
            let mut state = disk.lock();
            let (names, bytes) = disk.shown();
            for (number, path) in paths(&names) {
                state.pins.insert(number, File::open(disk.root.join(path)).expect("a file"));
            }
            (state.names, state.bytes) = (names, bytes);
        }
        DISKS.lock().push(Arc::downgrade(&disk));
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Looks at the tree when so many more syncs have begun, or ended.
    pub(crate) fn look_after(&self, syncs: u64, behind: bool) {
        let mut state = self.lock();
        (state.look, state.seen) = (Some((syncs, behind)), None);
    }

    /// What was looked at, if it came to that.
    pub(crate) fn seen(&self) -> Option<Moment> {
        let mut state = self.lock();
        state.look = None;
        state.seen.take()
    }

    /// The tree now.
    pub(crate) fn moment(&self) -> Moment {
        self.moment_of(&self.lock())
    }

    fn moment_of(&self, state: &State) -> Moment {
        Moment { durable: (state.names.clone(), state.bytes.clone()), shown: self.shown() }
    }

    /// No file grows from now on, or they do again.
    pub(crate) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::SeqCst) != full {
            if full {
                FULL.fetch_add(1, Ordering::SeqCst)
            } else {
                FULL.fetch_sub(1, Ordering::SeqCst)
            };
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst)
    }

    /// The disk gives another byte for the one that was written.
    pub(crate) fn flip(&self, path: &Path, at: u64, bit: u8) {
        let mut bytes = fs::read(path).expect("a file");
        let at = usize::try_from(at).expect("small");
        bytes[at] ^= bit;
        let file = File::options().write(true).open(path).expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..=at], at as u64).expect("a byte");
        let number = file.metadata().expect("its number").ino();
        if let Some(byte) = self.lock().bytes.get_mut(&number).and_then(|bytes| bytes.get_mut(at)) {
            *byte ^= bit;
        }
    }

    /// Everything that the system shows. Files that go meanwhile are not there.
    fn shown(&self) -> (Dirs, Bytes) {
        let (mut names, mut bytes) = (Dirs::new(), Bytes::new());
        let mut left = vec![String::new()];
        while let Some(dir) = left.pop() {
            let mut found = Names::new();
            for entry in fs::read_dir(self.root.join(&dir)).expect("a directory") {
                let entry = entry.expect("an entry");
                let name = entry.file_name().into_string().expect("text");
                let Ok(about) = entry.metadata() else { continue };
                found.insert(name.clone(), about.ino());
                let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                if about.is_dir() {
                    left.push(path);
                } else if let Ok(read) = fs::read(entry.path()) {
                    bytes.insert(about.ino(), read);
                }
            }
            names.insert(dir, found);
        }
        (names, bytes)
    }

    /// A file or a directory is synced through this descriptor.
    fn synced(&self, path: &Path, through: &Path) {
        let mut state = self.lock();
        self.look(&mut state, false);
        let about = fs::metadata(through).expect("an open file");
        if about.is_dir() {
            let below = path.strip_prefix(&self.root).expect("below the root");
            let below = below.to_str().expect("text").to_owned();
            let mut found = Names::new();
            for entry in fs::read_dir(path).expect("a directory").filter_map(Result::ok) {
                let Ok(about) = entry.metadata() else { continue };
                found.insert(entry.file_name().into_string().expect("text"), about.ino());
                if let (false, Ok(file)) = (state.pins.contains_key(&about.ino()), File::open(entry.path())) {
                    state.pins.insert(about.ino(), file);
                }
            }
            state.names.insert(below, found);
        } else {
            let bytes = fs::read(through).expect("an open file");
            state.bytes.insert(about.ino(), bytes);
            let again = || File::open(through).expect("an open file");
            state.pins.entry(about.ino()).or_insert_with(again);
        }
        self.look(&mut state, true);
    }

    fn look(&self, state: &mut State, behind: bool) {
        match state.look {
            Some((0, when)) if when == behind => {
                state.look = None;
                state.seen = Some(self.moment_of(state));
            }
            Some((left, when)) if behind && left > 0 => state.look = Some((left - 1, when)),
            _ => {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.set_full(false);
    }
}

fn paths(dirs: &Dirs) -> impl Iterator<Item = (u64, String)> {
    let path = |dir: &str, name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
    dirs.iter().flat_map(move |(dir, names)| names.iter().map(move |(name, n)| (*n, path(dir, name))))
}

impl Moment {
    /// What is found after the crash.
    pub(crate) fn image(&self, crash: Crash, luck: &mut Random) -> Image {
        let mut image = Image::new();
        let dirs = match crash {
            Crash::Kill => self.shown.0.clone(),
            Crash::Nothing => self.durable.0.clone(),
            Crash::Anything => self.names_left(luck),
        };
        for (number, path) in paths(&dirs) {
            if dirs.contains_key(&path) || self.is_dir(&path) {
                continue;
            }
            let (dir, _) = path.rsplit_once('/').unwrap_or_default();
            let is_reachable = dir.is_empty() || dirs.get("").is_some_and(|root| root.contains_key(dir));
            if is_reachable {
                image.insert(path.clone(), self.bytes_left(number, &path, crash, luck));
            }
        }
        image
    }

    fn is_dir(&self, path: &str) -> bool {
        self.shown.0.contains_key(path) || self.durable.0.contains_key(path)
    }

    /// Each file that has another name now, or none, or is new, may have reached the disk so or not.
    fn names_left(&self, luck: &mut Random) -> Dirs {
        let dirs: BTreeSet<&String> = self.durable.0.keys().chain(self.shown.0.keys()).collect();
        let none = Names::new();
        let mut left = Dirs::new();
        for dir in dirs {
            let before = self.durable.0.get(dir).unwrap_or(&none);
            let now = self.shown.0.get(dir).unwrap_or(&none);
            let mut names = Names::new();
            // What had a name: the old one, or what became of it.
            for (name, number) in before {
                let new_name = now.iter().find(|(_, other)| *other == number).map(|(name, _)| name);
                let is_replaced = now.get(name).is_some_and(|other| other != number);
                let moves = new_name != Some(name) && luck.below(2) == 0;
                match new_name {
                    Some(new_name) if moves => drop(names.insert(new_name.clone(), *number)),
                    // A name that another file has now goes when that one comes.
                    None if moves && !is_replaced => {}
                    _ => drop(names.entry(name.clone()).or_insert(*number)),
                }
            }
            for (name, number) in now {
                let is_new = !before.values().any(|other| other == number);
                if is_new && luck.below(2) == 0 {
                    names.insert(name.clone(), *number);
                }
            }
            left.insert(dir.clone(), names);
        }
        left
    }

    fn bytes_left(&self, number: u64, path: &str, crash: Crash, luck: &mut Random) -> Vec<u8> {
        let nothing = Vec::new();
        let durable = self.durable.1.get(&number).unwrap_or(&nothing);
        let shown = self.shown.1.get(&number).unwrap_or(durable);
        match crash {
            Crash::Kill => shown.clone(),
            Crash::Nothing => durable.clone(),
            Crash::Anything if durable == shown => shown.clone(),
            Crash::Anything => match shown.strip_prefix(&durable[..]) {
                Some(more) => [durable, &grown(more, !path.ends_with(MANIFEST), luck)[..]].concat(),
                None => rewritten(durable, shown, luck),
            },
        }
    }
}

/// What is left of bytes that were appended: a prefix, perhaps with sectors that are zeros, perhaps with zeros behind.
fn grown(more: &[u8], torn: bool, luck: &mut Random) -> Vec<u8> {
    let keep = match luck.below(4) {
        0 => 0,
        1 => more.len(),
        _ => luck.index(more.len() + 1),
    };
    let mut left = more[..keep].to_vec();
    if torn && luck.below(2) == 0 {
        for sector in left.chunks_mut(SECTOR) {
            if luck.below(4) == 0 {
                sector.fill(0);
            }
        }
    }
    if luck.below(3) == 0 {
        left.resize(keep + luck.index(more.len() - keep + 1), 0);
    }
    left
}

/// What is left of a file that was written over: any sectors of either.
fn rewritten(old: &[u8], new: &[u8], luck: &mut Random) -> Vec<u8> {
    let len = if luck.below(2) == 0 { old.len() } else { new.len() };
    let mut left = vec![0; len];
    for (nth, sector) in left.chunks_mut(SECTOR).enumerate() {
        let from = if luck.below(2) == 0 { old } else { new };
        let from = from.get(nth * SECTOR..).unwrap_or_default();
        let count = from.len().min(sector.len());
        sector[..count].copy_from_slice(&from[..count]);
    }
    left
}

static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());
/// How many of them are full.
static FULL: AtomicUsize = AtomicUsize::new(0);

/// The disk that an open file lies on, and its path.
fn disk_of(through: &Path) -> Option<(Arc<Disk>, PathBuf)> {
    let path = fs::read_link(through).ok()?;
    let mut disks = DISKS.lock();
    disks.retain(|disk| disk.strong_count() > 0);
    let disk = disks.iter().filter_map(Weak::upgrade).find(|disk| path.starts_with(&disk.root))?;
    Some((disk, path))
}

fn through(fd: RawFd) -> PathBuf {
    format!("/proc/self/fd/{fd}").into()
}

/// What takes the place of a sync. Files on no disk of ours need none.
pub(crate) fn sync(fd: RawFd) {
    let through = through(fd);
    if let Some((disk, path)) = disk_of(&through) {
        disk.synced(&path, &through);
    }
}

/// Whether a write to this file finds no space. The manifest writes into space of its own.
pub(crate) fn refuses(fd: RawFd) -> bool {
    FULL.load(Ordering::SeqCst) > 0
        && disk_of(&through(fd)).is_some_and(|(disk, path)| disk.is_full() && !path.ends_with(MANIFEST))
}
