//! A real git host: bare repositories, served by git's own HTTP backend behind nginx.

use crate::{
    image::run,
    paths,
    sandbox::{Process, Sandbox, free_port},
    wait::eventually,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// A running git host.
#[derive(Debug)]
pub struct GitHost {
    sandbox: Sandbox,
    _processes: [Process; 2],
    port: u16,
}

/// A repository on the host, and the work tree from which it is filled.
#[derive(Debug)]
pub struct Repository {
    work: PathBuf,
    bare: PathBuf,
    /// Its clone address.
    pub url: String,
}

impl GitHost {
    /// Starts one without repositories.
    pub async fn start() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        sandbox.folder("repositories")?;
        sandbox.folder("temp")?;
        let port = free_port()?;
        let socket = sandbox.path("fcgi.socket");
        let cgi = sandbox.start("fcgiwrap", &paths::program("fcgiwrap")?, |command| {
            // One process, without children of its own, which would outlive it.
            command.arg("-s").arg(format!("unix:{}", socket.display())).args(["-c", "1"]);
        })?;
        eventually("fcgiwrap's socket", || async {
            ensure!(socket.exists(), "not yet");
            Ok(())
        })
        .await?;
        fs::write(sandbox.path("nginx.conf"), configuration(&sandbox, port).await?)?;
        let (config, prefix) = (sandbox.path("nginx.conf"), sandbox.path(""));
        let nginx = sandbox.start("nginx", &paths::program("nginx")?, |command| {
            command.arg("-p").arg(prefix).arg("-c").arg(config).args(["-e", "stderr"]);
        })?;
        let host = Self { sandbox, _processes: [cgi, nginx], port };
        eventually("nginx to answer", || async {
            Ok(crate::http::client().get(host.address("none")).send().await.map(drop)?)
        })
        .await?;
        Ok(host)
    }

    fn address(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}.git", self.port)
    }

    /// Makes a bare repository with one commit on master.
    pub async fn repository(&self, name: &str) -> Result<Repository> {
        let bare = self.sandbox.path(format!("repositories/{name}.git"));
        let work = self.sandbox.folder(&format!("work-{name}"))?;
        let bare_text = bare.display().to_string();
        run("git", &["init", "--quiet", "--bare", "--initial-branch=master", &bare_text]).await?;
        let settings = [["http.uploadpack", "true"], ["http.receivepack", "true"], ["uploadpack.allowFilter", "true"]];
        for setting in settings {
            run("git", &["-C", &bare_text, "config", setting[0], setting[1]]).await?;
        }
        let repository = Repository { work, bare, url: self.address(name) };
        repository.git(&["init", "--quiet", "--initial-branch=master"]).await?;
        repository.git(&["remote", "add", "origin", &bare_text]).await?;
        repository.commit("begin").await?;
        Ok(repository)
    }
}

impl Repository {
    /// Commits something and pushes it to master; answers the commit.
    pub async fn commit(&self, message: &str) -> Result<String> {
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]).await?;
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:master"]).await?;
        self.head().await
    }

    /// Tags the head with a lightweight tag and pushes it.
    pub async fn tag(&self, name: &str) -> Result<()> {
        self.git(&["tag", name]).await?;
        self.push_tag(name).await
    }

    /// Tags the head with an annotated tag and pushes it.
    pub async fn annotated_tag(&self, name: &str) -> Result<()> {
        self.git(&["tag", "--annotate", "-m", name, name]).await?;
        self.push_tag(name).await
    }

    /// The bare repository's folder on this machine.
    #[must_use]
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    async fn push_tag(&self, name: &str) -> Result<()> {
        self.git(&["push", "--quiet", "origin", &format!("refs/tags/{name}")]).await.map(drop)
    }

    /// The commit that the work tree is at.
    pub async fn head(&self) -> Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"]).await?.trim().to_owned())
    }

    /// Runs git in the work tree, without the user's own configuration.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.work)
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "test"), ("GIT_AUTHOR_EMAIL", "test@example.com")])
            .envs([("GIT_COMMITTER_NAME", "test"), ("GIT_COMMITTER_EMAIL", "test@example.com")])
            .output()
            .await?;
        if !output.status.success() {
            bail!("git {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

async fn configuration(sandbox: &Sandbox, port: u16) -> Result<String> {
    let exec_path = run("git", &["--exec-path"]).await.context("git is needed")?;
    let temp = sandbox.path("temp").display().to_string();
    let paths = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"];
    let temp_paths: String = paths.iter().map(|name| format!("  {name}_temp_path {temp}/{name};\n")).collect();
    // Started by root, workers would run as a user that cannot enter the sandbox.
    let user = if run("id", &["-u"]).await?.trim() == "0" { "user root;\n" } else { "" };
    Ok(format!(
        "{user}daemon off;\nmaster_process off;\npid {temp}/nginx.pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n{temp_paths}\
         \n  access_log off;\n  server {{\n    listen 127.0.0.1:{port};\n    location / {{\n\
         fastcgi_pass unix:{socket};\n\
         fastcgi_param SCRIPT_FILENAME {backend}/git-http-backend;\n\
         fastcgi_param GIT_PROJECT_ROOT {repositories};\n\
         fastcgi_param GIT_HTTP_EXPORT_ALL 1;\n\
         fastcgi_param GIT_PROTOCOL $http_git_protocol;\n\
         fastcgi_param GIT_CONFIG_COUNT 1;\nfastcgi_param GIT_CONFIG_KEY_0 safe.directory;\nfastcgi_param GIT_CONFIG_VALUE_0 *;\n\
         fastcgi_param PATH_INFO $uri;\nfastcgi_param QUERY_STRING $query_string;\n\
         fastcgi_param REQUEST_METHOD $request_method;\nfastcgi_param CONTENT_TYPE $content_type;\n\
         fastcgi_param CONTENT_LENGTH $content_length;\nfastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;\n\
         fastcgi_param REMOTE_ADDR $remote_addr;\n}}\n}}\n}}\n",
        socket = sandbox.path("fcgi.socket").display(),
        backend = exec_path.trim(),
        repositories = sandbox.path("repositories").display(),
    ))
}
