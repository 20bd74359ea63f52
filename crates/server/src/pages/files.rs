//! A folder of static files: read when the server is built, and then served from memory.

use super::page::Page;
use super::types;
use crate::api::decision::Decision;
use crate::api::handler::{Handler, Incoming};
use framewright::handshake::{FieldName, FieldValue, Refusal, Request, Response, StatusCode};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of static files, for [`ServerBuilder::files`](crate::ServerBuilder::files).
///
/// All files are read into memory when the server is built, so that no event loop waits for a disk,
/// and no request can reach a file outside of the folder. Later changes in the folder take effect
/// only in the next server that is built.
///
/// | in the folder | served |
/// |---|---|
/// | a file | as a [`Page`] with the type that the end of its name stands for, and Last-Modified; a type that is not known is `application/octet-stream` |
/// | a folder with an `index.html` | as that file, under its path with a slash; without the slash the answer is a redirect there |
/// | another folder | 404, never a list |
/// | a name that begins with a dot | 404, except for `.well-known` (RFC 8615) |
/// | a symbolic link | what it leads to, which has to be in the folder, too |
///
/// A path is decoded to look up its file, while routes are compared with the undecoded path. No
/// other spelling of a more literal route's path may lead to a file. A path with a needlessly coded
/// byte is therefore answered with 404. This applies to letters, digits and `-._~` (RFC 3986,
/// section 6.2.2.2), and to any other byte that stands uncoded in the path of one of the server's
/// routes. If a route has coded bytes in its path, such as `/caf%C3%A9`, all other paths must be
/// coded likewise, with capitals.
///
/// ```no_run
/// use framewright_server::{FieldName, FieldValue, Files, Server};
///
/// let year = FieldValue::from_static("max-age=31536000, immutable");
/// let builder = Server::builder()
///     .files("/", "public")
///     .files("/assets", Files::new("dist").with_field(FieldName::from_static("Cache-Control"), year));
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
    most: u64,
    types: HashMap<String, FieldValue>,
    fields: Vec<(FieldName, FieldValue)>,
}

impl Files {
    /// Serves the files of `folder` and of its subfolders.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Files {
        Files { folder: folder.into(), most: 64 << 20, types: HashMap::new(), fields: Vec::new() }
    }

    /// Limits the bytes of all files together. Default 64 MiB, all of it held in memory; with more
    /// the server is not built. There can be at most 16,384 files and folders.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Files {
        self.most = bytes;
        self
    }

    /// Sets the content type of files whose names end in `.` and `extension`, in upper or lower
    /// case.
    #[must_use]
    pub fn with_type(mut self, extension: &str, content_type: FieldValue) -> Files {
        self.types.insert(extension.to_ascii_lowercase(), content_type);
        self
    }

    /// Adds a field line to the answers: see [`Page::with_field`].
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Files {
        self.fields.push((name, value));
        self
    }

    /// Reads all files and folders. `prefix` is the path that they are served under.
    ///
    /// # Errors
    /// If an entry cannot be read, is neither a file nor a folder, leads out of the folder or into
    /// itself, or exceeds the limits.
    pub(crate) fn load(&self, prefix: &str, spelling: Spelling) -> io::Result<Folder> {
        let root = fs::canonicalize(&self.folder).map_err(|error| at(&self.folder, &error))?;
        let mut loader = Loader { files: self, root, left: self.most, entries: 0, served: HashMap::new() };
        loader.folder(&self.folder, "".as_ref(), &mut Vec::new())?;
        let prefix = prefix.trim_end_matches('/').len();
        Ok(Folder { prefix, spelling, served: Arc::new(loader.served) })
    }
}

impl From<&str> for Files {
    fn from(folder: &str) -> Self {
        Files::new(folder)
    }
}

impl From<String> for Files {
    fn from(folder: String) -> Self {
        Files::new(folder)
    }
}

impl From<&Path> for Files {
    fn from(folder: &Path) -> Self {
        Files::new(folder)
    }
}

impl From<PathBuf> for Files {
    fn from(folder: PathBuf) -> Self {
        Files::new(folder)
    }
}

/// The entries by path: relative to the folder, decoded, and without a leading slash.
type Served = HashMap<Box<[u8]>, Entry>;

#[derive(Debug)]
enum Entry {
    Page(Page),
    /// A folder whose path needs a slash at its end: answered with a redirect.
    Folder,
}

/// The most files and folders.
const MAX_ENTRIES: usize = 1 << 14;

/// Reads a folder.
struct Loader<'a> {
    files: &'a Files,
    /// The folder's canonical path.
    root: PathBuf,
    /// Bytes left until the limit.
    left: u64,
    entries: usize,
    served: Served,
}

impl Loader<'_> {
    /// Reads the folder at `path`, which is served under `key`: empty, or with a slash at its end.
    /// `above` contains its parent folders.
    fn folder(&mut self, path: &Path, key: &[u8], above: &mut Vec<PathBuf>) -> io::Result<()> {
        let real = self.real(path)?;
        if above.contains(&real) {
            return Err(unfit(path, "the folder is in itself"));
        }
        above.push(real);
        for entry in fs::read_dir(path).map_err(|error| at(path, &error))? {
            let name = entry.map_err(|error| at(path, &error))?.file_name();
            let octets = name.as_encoded_bytes();
            if octets.starts_with(b".") && octets != b".well-known" {
                continue;
            }
            self.count()?;
            let (path, key) = (path.join(&name), [key, octets].concat());
            // The metadata of a link's target.
            let metadata = fs::metadata(&path).map_err(|error| at(&path, &error))?;
            if metadata.is_dir() {
                self.folder(&path, &[&key, &b"/"[..]].concat(), above)?;
            } else if metadata.is_file() {
                self.file(&path, key, metadata.modified().ok())?;
            } else {
                return Err(unfit(&path, "neither a file nor a folder"));
            }
        }
        above.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path, key: Vec<u8>, modified: Option<std::time::SystemTime>) -> io::Result<()> {
        let real = self.real(path)?;
        let mut octets = Vec::new();
        let opened =
            File::open(real).and_then(|file| file.take(self.left.saturating_add(1)).read_to_end(&mut octets));
        opened.map_err(|error| at(path, &error))?;
        self.left = self.left.checked_sub(octets.len() as u64).ok_or_else(|| {
            let why = format!("the files have more than {} bytes together", self.files.most);
            unfit(&self.files.folder, &why)
        })?;
        octets.shrink_to_fit();
        let mut page = Page::new(self.type_of(path), octets);
        page = modified.into_iter().fold(page, Page::with_modified);
        for (name, value) in &self.files.fields {
            page = page.with_field(name.clone(), value.clone());
        }
        if let Some(folder) = key.strip_suffix(b"index.html")
            && (folder.is_empty() || folder.ends_with(b"/"))
        {
            self.served.insert(folder.into(), Entry::Page(page.clone()));
            if let Some(without_slash) = folder.strip_suffix(b"/") {
                self.served.insert(without_slash.into(), Entry::Folder);
            }
        }
        self.served.insert(key.into(), Entry::Page(page));
        Ok(())
    }

    /// The canonical path, which must be inside the folder.
    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        let real = fs::canonicalize(path).map_err(|error| at(path, &error))?;
        if real.starts_with(&self.root) {
            return Ok(real);
        }
        Err(unfit(path, "a link that leads out of the folder"))
    }

    fn count(&mut self) -> io::Result<()> {
        self.entries += 1;
        if self.entries <= MAX_ENTRIES {
            return Ok(());
        }
        Err(unfit(&self.files.folder, &format!("more than {MAX_ENTRIES} files and folders")))
    }

    fn type_of(&self, path: &Path) -> FieldValue {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        let own = self.files.types.get(&extension).cloned();
        own.or_else(|| types::of(&extension)).unwrap_or_else(types::unknown)
    }
}

/// Adds the path to an error.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The error for an entry that cannot be served.
fn unfit(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()))
}

/// A folder that has been read.
#[derive(Clone)]
pub(crate) struct Folder {
    /// The length of the path that the folder is served under, without a slash at its end.
    prefix: usize,
    spelling: Spelling,
    served: Arc<Served>,
}

impl Folder {
    fn answer(&self, request: &Request<'_>) -> Response {
        let path = request.path();
        let entry = match path.get(self.prefix..).unwrap_or_default().strip_prefix('/') {
            None => self.served.contains_key(&b""[..]).then_some(&Entry::Folder),
            Some(relative) => self.spelling.decoded(relative).and_then(|key| self.served.get(&key[..])),
        };
        match entry {
            None => Refusal::NotFound.to_response(),
            Some(Entry::Page(page)) => page.answer(request),
            Some(Entry::Folder) => Page::from(with_slash(path, request.query())).answer(request),
        }
    }
}

/// The spellings of a path that are looked up. Routes are compared undecoded: a route has only one
/// of the spellings of a path, and no other spelling of it may lead to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    /// A bit for each byte of US-ASCII that must not be coded.
    plain: u128,
    /// A route has coded bytes: a byte that can be coded in only one way must be coded.
    strict: bool,
}

impl Spelling {
    /// The spelling for a server with these route paths.
    ///
    /// # Errors
    /// The first path that codes a byte which needs no coding, or codes a byte with small letters.
    pub(crate) fn beside<'a>(paths: impl Iterator<Item = &'a str>) -> Result<Spelling, &'a str> {
        let unreserved = (0..128).filter(|&octet: &u8| is_unreserved(octet));
        let mut spelling = Spelling { plain: unreserved.map(bit).sum(), strict: false };
        for path in paths {
            // Text between braces is a name, unless the braces are doubled.
            let is_literal = path.contains("{{") || path.contains("}}");
            let pieces = path.split(if is_literal { '\0' } else { '{' });
            for piece in pieces {
                let piece = if is_literal { piece } else { piece.rsplit('}').next().unwrap_or(piece) };
                let mut rest = piece.as_bytes();
                while let Some((octet, digits)) = next_octet(&mut rest) {
                    match digits {
                        Some(digits) if is_pchar(octet) || has_small_letter(digits) => return Err(path),
                        Some(_) => spelling.strict = true,
                        None => spelling.plain |= bit(octet),
                    }
                }
            }
        }
        Ok(spelling)
    }

    /// Decodes the path to a key of the table. `None` for a path with a coded slash, which occurs
    /// in no name, and for a spelling that is not looked up.
    ///
    /// Nothing else needs a check: `..` is no name either, and only names are in the table.
    fn decoded(self, path: &str) -> Option<Vec<u8>> {
        let mut key = Vec::with_capacity(path.len());
        let mut rest = path.as_bytes();
        while let Some((octet, digits)) = next_octet(&mut rest) {
            let is_looked_up = match digits {
                Some(digits) => {
                    let is_usual = !self.strict || !has_small_letter(digits);
                    octet != b'/' && self.plain & bit(octet) == 0 && is_usual
                }
                None => !self.strict || octet == b'/' || is_pchar(octet),
            };
            if !is_looked_up {
                return None;
            }
            key.push(octet);
        }
        Some(key)
    }
}

/// Takes the next byte of a path, with its digits if it is coded. A percent sign without two digits
/// stands for itself.
fn next_octet<'a>(rest: &mut &'a [u8]) -> Option<(u8, Option<&'a [u8]>)> {
    let (&octet, after) = rest.split_first()?;
    *rest = after;
    if let Some((digits, behind)) = after.split_at_checked(2)
        && octet == b'%'
        && digits.iter().all(u8::is_ascii_hexdigit)
    {
        let value = |digit: u8| (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *rest = behind;
        return Some((value(digits[0])? << 4 | value(digits[1])?, Some(digits)));
    }
    Some((octet, None))
}

fn bit(octet: u8) -> u128 {
    1_u128.checked_shl(octet.into()).unwrap_or(0)
}

fn has_small_letter(digits: &[u8]) -> bool {
    digits.iter().any(u8::is_ascii_lowercase)
}

/// RFC 3986, section 2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

/// Whether the byte stands for itself in a segment of a path (RFC 3986, section 3.3).
fn is_pchar(octet: u8) -> bool {
    is_unreserved(octet) || b"!$&'()*+,;=:@".contains(&octet)
}

/// A redirect to `path` with a slash at its end. Relative, so that it names no host: a path may
/// begin with two slashes.
fn with_slash(path: &str, query: Option<&str>) -> Response {
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = FieldValue::new(format!("./{last}/{query}")).expect("a target is visible US-ASCII");
    Response::text(StatusCode::MOVED_PERMANENTLY, "moved to the same path with a slash at its end\n")
        .with_field(FieldName::from_static("Location"), location)
}

impl Handler for Folder {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        self.answer(request).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(path: &str, routes: &[&str]) -> Option<String> {
        let key = Spelling::beside(routes.iter().copied()).expect("paths").decoded(path)?;
        Some(key.escape_ascii().to_string())
    }

    #[test]
    fn only_a_path_of_names_is_a_key() {
        for (path, key) in [
            ("", ""),
            ("a/b%20c/", "a/b c/"),
            ("%2b%c3%A9%00", "+\\xc3\\xa9\\x00"),
            ("%", "%"),
            ("%2/%zz%", "%2/%zz%"),
            ("[x]", "[x]"),
        ] {
            assert_eq!(decoded(path, &["/"]).as_deref(), Some(key), "{path}");
        }
        for path in ["a%2fb", "%2F", "%2e%2e", "%2e%2e%2f", "a/..%2f", "%61", "%41", "%39", "%2D%5f%7e"] {
            assert_eq!(decoded(path, &["/"]), None, "{path}");
        }
    }

    #[test]
    fn what_stands_in_routes_has_one_spelling() {
        assert_eq!(decoded("%2b", &["/a", "/a+b"]), None);
        assert_eq!(decoded("%2a%7b", &["/{*rest}"]).as_deref(), Some("*{"));
        assert_eq!(decoded("%2b", &["/{*rest}", "/{x}+{y}/z"]), None);
        assert_eq!(decoded("%7b", &["/a{{b"]), None);
        assert_eq!(decoded("%C3%A9+%2B", &["/%C3%A9"]).as_deref(), Some("\\xc3\\xa9++"));
        for path in ["%c3%a9", "%C3%a9", "[", "{", "%", "%2"] {
            assert_eq!(decoded(path, &["/%C3%A9"]), None, "{path}");
        }
    }

    #[test]
    fn a_route_that_codes_what_it_need_not_is_told() {
        for path in ["/%61", "/x/a%2Bb/{*rest}", "/%c3%a9", "/{x}%7E"] {
            assert_eq!(Spelling::beside(["/fine%20%C3%A9", path].into_iter()).unwrap_err(), path);
        }
    }
}
