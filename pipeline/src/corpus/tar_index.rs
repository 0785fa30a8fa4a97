//! Where the members of a tar lie, told from its headers alone. Names are only names here: no path of a tar is ever opened.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ajepa_store::{Opened, ReadSeek};
use tar::{EntryType, Header, PaxExtensions};

use crate::stage::BuildError;

const BLOCK: u64 = 512;

/// Long names and PAX records are read into memory: more than this is an attack, not a name.
const MAX_META_BYTES: u64 = 64 << 10;

/// The longest name kept, so that the list of names stays of the order of the headers it was read from.
const MAX_NAME_BYTES: usize = 4096;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// Bytes that lie at [`Member::offset`].
    File,
    /// A folder.
    Folder,
    /// A link, a device, a sparse file: what it says cannot be read as a range of bytes.
    Other(&'static str),
}

/// One member of a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As the tar has it, bytes that are not UTF-8 replaced.
    pub name: String,
    /// What it is.
    pub kind: MemberKind,
    /// First byte in the tar.
    pub offset: u64,
    /// Number of bytes; they are all there.
    pub len: u64,
}

/// Why a tar could not be read to its end.
#[derive(Debug)]
pub enum ScanError {
    /// It is torn or damaged behind the members that were found.
    Torn {
        /// What is wrong, with the tar, and the cure.
        fault: BuildError,
        /// First byte of the header at fault, or of the member that is not all there.
        at: u64,
        /// The name of that member, where its header could be read.
        member: Option<String>,
    },
    /// It is not there, cannot be read, or is compressed.
    Unusable(BuildError),
}

impl From<ScanError> for BuildError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Torn { fault, .. } | ScanError::Unusable(fault) => fault,
        }
    }
}

/// Name and size that an extended header gives to the member behind it.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    len: Option<u64>,
    sparse: bool,
}

/// Calls `found` for every member, in order. Reads 512 bytes a member; what is between is jumped over.
///
/// # Errors
/// [`ScanError`] for a compressed, torn or damaged tar, with the offset; what was found before stays found.
pub fn scan_tar(path: &Path, found: &mut dyn FnMut(Member)) -> Result<(), ScanError> {
    let io = |error: std::io::Error| {
        ScanError::Unusable(BuildError::new(format!("{}: {error}", path.display()), "check the file"))
    };
    let Opened { len: file_len, reader } = ajepa_store::open(path).map_err(io)?;
    let mut scan = Scan { path, file: BufReader::with_capacity(BLOCK as usize, reader), at: 0, file_len };
    scan.refuse_compressed()?;
    let mut ahead = Ahead::default();
    while let Some(header) = scan.header()? {
        let kind = header.entry_type();
        let is_meta = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        let own_len =
            header.entry_size().map_err(|error| scan.fault(&format!("a size that is no number ({error})")))?;
        let len = if is_meta { own_len } else { ahead.len.take().unwrap_or(own_len) };
        // Links and devices may state a size, but no bytes follow them.
        let has_bytes = is_meta || matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
        let stored = if has_bytes || !is_known(kind) { len } else { 0 };
        let offset = scan.at;
        if stored > scan.file_len.saturating_sub(offset) {
            let name = if is_meta { None } else { ahead.name.take() };
            return Err(scan.cut_inside(&name.unwrap_or_else(|| header.path_bytes().into_owned())));
        }
        if is_meta {
            scan.extended(kind, len, &mut ahead)?;
        } else {
            let Ahead { name, sparse, .. } = std::mem::take(&mut ahead);
            let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
            if name.len() > MAX_NAME_BYTES {
                return Err(scan.fault("a name of more than 4,096 bytes"));
            }
            let kind = if sparse { MemberKind::Other("a sparse file") } else { member_kind(kind) };
            found(Member { name: String::from_utf8_lossy(&name).into_owned(), kind, offset, len: stored });
        }
        scan.go_to(offset + stored.div_ceil(BLOCK) * BLOCK)?;
    }
    Ok(())
}

fn is_known(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

fn member_kind(kind: EntryType) -> MemberKind {
    match kind {
        EntryType::Regular | EntryType::Continuous => MemberKind::File,
        EntryType::Directory => MemberKind::Folder,
        EntryType::Link => MemberKind::Other("a hard link"),
        EntryType::Symlink => MemberKind::Other("a symbolic link"),
        EntryType::GNUSparse => MemberKind::Other("a sparse file"),
        EntryType::Char | EntryType::Block | EntryType::Fifo => MemberKind::Other("a device"),
        _ => MemberKind::Other("of a kind that is not known"),
    }
}

struct Scan<'a> {
    path: &'a Path,
    file: BufReader<Box<dyn ReadSeek>>,
    /// Where `file` stands.
    at: u64,
    file_len: u64,
}

impl Scan<'_> {
    /// What is wrong with the header that was read last.
    fn fault(&self, what: &str) -> ScanError {
        let at = self.at.saturating_sub(BLOCK);
        let problem = format!("{}: {what} in the header at byte {at}", self.path.display());
        ScanError::Torn { fault: BuildError::new(problem, "write the tar again"), at, member: None }
    }

    /// The member behind the header that was read last is longer than what is left.
    fn cut_inside(&self, name: &[u8]) -> ScanError {
        let (at, name) = (self.at.saturating_sub(BLOCK), String::from_utf8_lossy(name).into_owned());
        let problem = format!("{} ends inside the member {name}, which begins at byte {at}", self.path.display());
        let fault = BuildError::new(problem, "the tar was cut short: fetch or write it again");
        ScanError::Torn { fault, at, member: Some(name) }
    }

    fn io(&self, error: &std::io::Error) -> ScanError {
        let problem = format!("{}: {error} at byte {}", self.path.display(), self.at);
        ScanError::Unusable(BuildError::new(problem, "check the disk and the file"))
    }

    fn go_to(&mut self, at: u64) -> Result<(), ScanError> {
        self.at = at;
        self.file.seek(SeekFrom::Start(at)).map(|_| ()).map_err(|error| self.io(&error))
    }

    fn refuse_compressed(&mut self) -> Result<(), ScanError> {
        let mut magic = Vec::new();
        let read = Read::by_ref(&mut self.file).take(4).read_to_end(&mut magic);
        read.map_err(|error| self.io(&error))?;
        let by = match magic.as_slice() {
            [0x1F, 0x8B, ..] => "gzip",
            [0x28, 0xB5, 0x2F, 0xFD] => "zstd",
            [b'B', b'Z', b'h', _] => "bzip2",
            [0xFD, b'7', b'z', b'X'] => "xz",
            _ => return self.go_to(0),
        };
        let help = "members are read in place, which a compressed tar does not allow: unpack it to a plain .tar first";
        let problem = format!("{} is compressed with {by}", self.path.display());
        Err(ScanError::Unusable(BuildError::new(problem, help)))
    }

    /// The next header, or `None` at the end mark, an empty block. A file that ends without it may have lost members.
    fn header(&mut self) -> Result<Option<Header>, ScanError> {
        let mut header = Header::new_old();
        let left = self.file_len.saturating_sub(self.at);
        if left == 0 {
            let help = "it was cut short: fetch or write it again; if it is whole, append 1024 zero bytes";
            let fault = BuildError::new(format!("{} ends without its end mark", self.path.display()), help);
            return Err(ScanError::Torn { fault, at: self.at, member: None });
        }
        self.at += BLOCK;
        if left < BLOCK {
            return Err(self.fault("fewer than 512 bytes"));
        }
        let read = self.file.read_exact(header.as_mut_bytes());
        read.map_err(|error| self.io(&error))?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let (before, rest) = bytes.split_at(148);
        let sum: u32 = before.iter().chain(&rest[8..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
        if header.cksum().ok() != Some(sum) {
            return Err(self.fault("a wrong checksum"));
        }
        Ok(Some(header))
    }

    fn extended(&mut self, kind: EntryType, len: u64, ahead: &mut Ahead) -> Result<(), ScanError> {
        if len > MAX_META_BYTES {
            return Err(self.fault("a name or record of more than 64 KiB"));
        }
        let mut bytes = vec![0; len as usize];
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|error| self.io(&error))?;
        match kind {
            EntryType::GNULongName => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                bytes.truncate(end);
                ahead.name = Some(bytes);
            }
            EntryType::XHeader => {
                for record in PaxExtensions::new(&bytes) {
                    let record = record.map_err(|_| self.fault("a PAX record that does not parse"))?;
                    match record.key_bytes() {
                        b"path" => ahead.name = Some(record.value_bytes().to_vec()),
                        b"size" => {
                            let len = record.value().ok().and_then(|text| text.parse().ok());
                            ahead.len = Some(len.ok_or_else(|| self.fault("a PAX size that is no number"))?);
                        }
                        key if key.starts_with(b"GNU.sparse") => ahead.sparse = true,
                        _ => {}
                    }
                }
            }
            // Targets of links are not read; records for all members say nothing that is used here.
            _ => {}
        }
        Ok(())
    }
}
