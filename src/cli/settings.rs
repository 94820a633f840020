//! Settings from a file: `--config FILE`, below the environment, which is below flags.
//!
//! A key is a flag's name without its dashes in front (`max-body-bytes`, or `max_body_bytes`). What the file says becomes
//! the flag's default, so that there is one place which reads and checks values. Keys that `imprint serve` does not know
//! are refused; those that another command does not take are left aside there: one file serves all.
//!
//! Deliberately absent: sections and lists; no setting needs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{Cli, CliError};

/// Where a setting that is not the default comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The flag's name.
    pub name: String,
    /// Its value, unless that may be a secret.
    pub value: Option<String>,
    /// What said so.
    pub source: String,
}

/// The id of `--config`; `config` alone is that of a command's own argument.
const FILE: &str = "config-file";

/// The command line, the environment and the file as one; and what of it is not a default.
pub fn read() -> Result<(Cli, Vec<Origin>), CliError> {
    let named = Arg::new(FILE).long("config").env("IMPRINT_CONFIG").value_name("FILE").global(true);
    let help = "A TOML file of settings, each a flag's name (`workers = 4`); the environment and flags go before it";
    let command = Cli::command().arg(named.value_parser(clap::value_parser!(PathBuf)).help(help));
    let mut matches = command.clone().get_matches();
    let mut file = Settings::default();
    if let Some(path) = matches.get_one::<PathBuf>(FILE).cloned() {
        file = Settings::read(&path, &command)?;
        // What was right without the file and is not with it is the file's fault.
        let with_file = file.below(command.clone(), &names(&matches));
        matches = with_file.try_get_matches().map_err(|error| at(&path, first_line(&error)))?;
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let origins = origins(&command, &matches, &file);
    Ok((cli, origins))
}

/// What a file says, by the names of flags.
#[derive(Debug, Default)]
struct Settings {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl Settings {
    fn read(path: &Path, command: &Command) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|error| at(path, error.to_string()))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| at(path, first_line(&error)))?;
        let serve = command.find_subcommand("serve").into_iter().flat_map(Command::get_arguments);
        let known: Vec<&str> = serve.filter_map(Arg::get_long).collect();
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let name = key.replace('_', "-");
            if !known.contains(&name.as_str()) {
                let nearest = known.iter().min_by_key(|flag| distance(flag, &name)).copied().unwrap_or_default();
                return Err(at(path, format!("there is no setting `{key}`; the nearest is `{nearest}`")));
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => return Err(at(path, format!("`{key}` is a string, a number, or true or false"))),
            };
            values.insert(name, text);
        }
        Ok(Self { path: path.to_owned(), values })
    }

    /// The command with these defaults for the subcommand of that path.
    fn below(&self, command: Command, path: &[String]) -> Command {
        if let [name, rest @ ..] = path {
            return command.mut_subcommand(name, |inner| self.below(inner, rest));
        }
        command.mut_args(|arg| match arg.get_long().and_then(|name| self.values.get(name)) {
            Some(value) => arg.default_value(value.clone()),
            None => arg,
        })
    }
}

fn at(path: &Path, reason: impl std::fmt::Display) -> CliError {
    CliError::Usage(format!("{}: {reason}", path.display()))
}

/// What an error says first, without the word that it is one.
fn first_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The subcommands that were named, outermost first.
fn names(matches: &ArgMatches) -> Vec<String> {
    let within = std::iter::successors(matches.subcommand(), |(_, inner)| inner.subcommand());
    within.map(|(name, _)| name.to_owned()).collect()
}

fn origins(command: &Command, matches: &ArgMatches, file: &Settings) -> Vec<Origin> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let args = command.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
    let origin = |arg: &Arg| {
        let (id, name) = (arg.get_id().as_str(), arg.get_long()?);
        let source = match matches.value_source(id)? {
            ValueSource::CommandLine => format!("--{name}"),
            ValueSource::EnvVariable => arg.get_env()?.to_string_lossy().into_owned(),
            _ if file.values.contains_key(name) => file.path.display().to_string(),
            _ => return None,
        };
        let raw = || matches.get_raw(id).map(|values| values.map(|value| value.to_string_lossy()).collect());
        let value = if arg.is_hide_env_values_set() { None } else { raw() };
        Some(Origin { name: name.to_owned(), value, source })
    };
    args.filter_map(origin).collect()
}

/// Letters to change, add or leave out to make one word of another (Levenshtein 1966).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (place, others) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *others);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path(), &Cli::command()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_is_below_the_environment_and_flags() {
        let file = settings("max_body_bytes = 1000\nworkers = 3\nno-auth = true\nmigrate-on-start = false").unwrap();
        let path = ["serve".to_owned()];
        let matches = file.below(Cli::command(), &path).get_matches_from(["imprint", "serve", "--workers", "2"]);
        let (_, serve) = matches.subcommand().unwrap();

        assert_eq!(serve.get_one::<usize>("max_body_bytes"), Some(&1000));
        assert_eq!(serve.get_one::<usize>("workers"), Some(&2));
        assert_eq!(serve.get_one::<bool>("migrate_on_start"), Some(&false));
        assert_eq!(serve.get_one::<bool>("no_auth"), Some(&true));
        let said: Vec<_> =
            origins(&Cli::command(), &matches, &file).into_iter().map(|found| (found.name, found.source)).collect();
        let from_file = file.path.display().to_string();
        assert!(said.contains(&("workers".to_owned(), "--workers".to_owned())), "{said:?}");
        assert!(said.contains(&("no-auth".to_owned(), from_file)), "{said:?}");
        assert!(!said.iter().any(|(name, _)| name == "listen"), "{said:?}");
    }

    #[test]
    fn a_key_that_is_none_is_refused_with_the_nearest() {
        let refused = settings("max_body_byts = 1000").unwrap_err();

        assert!(refused.contains("no setting `max_body_byts`; the nearest is `max-body-bytes`"), "{refused}");
        assert!(settings("workers = [1]").unwrap_err().contains("`workers` is a string, a number"));
        assert!(settings("workers").is_err());
    }

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("same", "same")), (3, 3, 0));
    }
}
