//! The development secret: made up once, kept in the data directory, so that a newcomer needs no configuration.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;

/// Its name in the data directory.
pub(super) const FILE: &str = "dev-secret.key";

/// What a development secret begins with, so that production knows one.
pub(super) const MARK: &str = "development-only-";

/// The secret at `path`, made up first where there is none. All processes that start at once get the same one.
pub(super) fn read_or_create(path: &Path) -> Result<SecretString, String> {
    let kept = match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => create(path).and_then(|()| read(path)),
        kept => kept,
    };
    let secret = kept.map_err(|error| format!("the development secret {} cannot be kept: {error}", path.display()))?;
    if secret.expose_secret().len() < super::rules::SECRET_BYTES {
        return Err(format!("the development secret {} is damaged; delete it to get a new one", path.display()));
    }
    Ok(secret)
}

fn read(path: &Path) -> io::Result<SecretString> {
    fs::read_to_string(path).map(|text| text.trim().into())
}

/// Writes the whole secret aside and then links it into place: whoever comes second finds the first one's, never half of
/// it.
fn create(path: &Path) -> io::Result<()> {
    let now = Clock::system().now();
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let aside = folder.join(format!("{FILE}.{}", now.id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let written = writeln!(file, "{MARK}{}", now.secret().expose_secret()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&aside, path));
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}
