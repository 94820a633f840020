//! A folder in which `imprint` trains: data, an encoder made for the test, and a training file.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::tiny_encoder;

pub struct Workshop {
    folder: TempDir,
    /// Of the base model.
    name: &'static str,
}

impl Workshop {
    /// With the encoder `tiny`, and a training file of the base model of that name.
    pub fn new(name: &'static str, training: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny_encoder::write(&folder.path().join("encoders/tiny"));
        let workshop = Self { folder, name };
        workshop.write(&workshop.training_file(), training);
        workshop
    }

    fn training_file(&self) -> String {
        format!("{}.toml", self.name)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    /// A part of the training file becomes another.
    pub fn change(&self, is: &str, becomes: &str) {
        let file = self.training_file();
        let training = fs::read_to_string(self.path(&file)).unwrap();
        assert!(training.contains(is), "`{is}` is not in {training}");
        self.write(&file, &training.replace(is, becomes));
    }

    /// `imprint` in this folder.
    pub fn imprint(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imprint"));
        command.env_clear().current_dir(self.folder.path()).args(arguments).args(["--encoders", "encoders"]);
        command.output().unwrap()
    }

    /// What a program that reads the data prints when it succeeds.
    fn done(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.imprint(&[arguments, &["--data", "."]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub fn train(&self, more: &[&str]) {
        self.done(&[&["train", &self.training_file()], more].concat());
    }

    /// The report of the base model that was trained.
    pub fn eval(&self, more: &[&str]) -> Value {
        serde_json::from_slice(&self.done(&[&["eval", self.name, "--json"], more].concat())).expect("a report")
    }

    /// What is said of the training file, which is refused once a part of it is another.
    pub fn refusal(&self, is: &str, becomes: &str) -> String {
        self.change(is, becomes);
        let refused = self.imprint(&["train", &self.training_file(), "--data", "."]);
        self.change(becomes, is);
        refusal_of(&refused)
    }

    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.of_bundle("manifest.json")).unwrap()).unwrap()
    }

    /// A file of the bundle that was trained.
    pub fn of_bundle(&self, file: &str) -> PathBuf {
        self.path("models").join(self.name).join(file)
    }
}

/// What a program says that refuses to do what it was asked for.
pub fn refusal_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
