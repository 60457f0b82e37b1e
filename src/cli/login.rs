//! How to log in, as the configuration says it.

use std::fs;

use anyhow::Context as _;

use crate::auth::Credentials;
use crate::config::Auth;
use crate::text::yaml_in;
use crate::value::Value;

use super::exit::CliError;
use super::show::plain;

/// Who to be, and the proof: a text `METHOD name=value…`, one that names a
/// file (`=FILE`), or a map with `type`.
pub(super) fn credentials(auth: &Auth) -> Result<Credentials, CliError> {
    let credentials = match auth {
        Auth::Spec(text) => match text.strip_prefix('=') {
            Some(file) => from_map(read(file)?),
            None => Credentials::parse(text).map_err(anyhow::Error::from),
        },
        Auth::Map(parameters) => from_map(parameters.clone()),
    };
    credentials.map_err(|why| CliError::usage(format!("conn.auth: {why}")))
}

fn from_map(mut parameters: Vec<(String, String)>) -> Result<Credentials, anyhow::Error> {
    let at = parameters.iter().position(|(name, _)| name == "type");
    let (_, method) = parameters.remove(at.context("a map needs 'type'")?);
    Ok(Credentials::new(&method, parameters)?)
}

/// A file with a YAML map.
fn read(file: &str) -> Result<Vec<(String, String)>, CliError> {
    let text = fs::read_to_string(file)
        .map_err(|why| CliError::usage(format!("conn.auth: cannot read {file}: {why}")))?;
    match yaml_in::parse(&text) {
        Ok(Value::Map(pairs)) => Ok(pairs
            .iter()
            .map(|(name, value)| (plain(name), plain(value)))
            .collect()),
        Ok(_) => Err(CliError::usage(format!("conn.auth: {file} holds no map"))),
        Err(why) => Err(CliError::usage(format!("conn.auth: {file}: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_files_and_maps_say_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("login");
        fs::write(&file, "type: password\nname: joe\npassword: '12345'\n").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = Credentials::parse("password name=joe password=12345").unwrap();
        for auth in [
            Auth::Spec("password name=joe password=12345".to_owned()),
            Auth::Spec(format!("={}", file.display())),
            Auth::Map(vec![
                pair("name", "joe"),
                pair("type", "password"),
                pair("password", "12345"),
            ]),
        ] {
            assert_eq!(credentials(&auth).unwrap(), wanted);
        }
        assert!(credentials(&Auth::Map(vec![pair("name", "joe")])).is_err());
        assert!(credentials(&Auth::Spec("=/nonexistent/login".to_owned())).is_err());
    }
}
