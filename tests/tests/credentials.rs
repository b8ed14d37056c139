//! Registries that ask who reads them: AWS's, and those with a token service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::Result;
use brain_tests::{
    brain::once,
    paths,
    registry::{Registry, Settings, htpasswd},
    sandbox::Sandbox,
    wait::eventually,
};
use std::fs;

#[tokio::test]
async fn a_registry_of_ecr_is_read_with_a_token_of_aws_and_no_other_way() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let lab = brain_tests::lab::Lab::start().await?;
    // What the lab's ECR gives out.
    let credential = ("AWS".to_owned(), "123456789012-auth-token".to_owned());
    let auth = htpasswd(&sandbox, &credential.0, &credential.1).await?;
    let settings = Settings { auth, credential: Some(credential), notify: None };
    let registry = Registry::start_with(settings).await?;
    registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    let repository = "123456789012.dkr.ecr.us-east-1.amazonaws.com/flowcommerce/user";
    let config = sandbox.path("once.toml");
    let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    fs::write(&config, format!("[[registry]]\nhost = \"{host}\"\nendpoint = \"{}\"\n", registry.endpoint()))?;
    let config = config.display().to_string();
    let endpoint = lab.endpoint();
    let keys =
        [("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "lab"), ("AWS_ENDPOINT_URL", endpoint.as_str())];
    let (code, output) = once(&["--image-repository", repository, "--config", &config], &keys).await?;
    assert!(code == Some(0) && output.contains(&format!("{repository}:0.0.4 sha256:")), "{output}");
    let nobody =
        [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")];
    let (code, output) = once(&["--image-repository", repository, "--config", &config], &nobody).await?;
    assert!(code == Some(1) && output.contains("AWS gives no token for registry"), "{output}");
    Ok(())
}

#[tokio::test]
async fn a_registry_with_token_authentication_is_read_with_a_token_of_its_service() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let folder = sandbox.folder("service")?;
    let _service = sandbox.start("token-service", &paths::tool("venv/bin/python")?, |command| {
        command.arg(paths::root().join("tests/peers/token_service.py")).arg(&folder).args(["me", "right"]);
    })?;
    let port = eventually("the token service", || async { Ok(fs::read_to_string(folder.join("port"))?) }).await?;
    let auth = format!(
        "auth: {{token: {{realm: 'http://127.0.0.1:{port}/token', service: tests, issuer: tests, rootcertbundle: {}}}}}\n",
        folder.join("certificate.pem").display()
    );
    let credential = Some(("me".to_owned(), "right".to_owned()));
    let registry = Registry::start_with(Settings { auth, credential, notify: None }).await?;
    registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    let config = sandbox.path("once.toml");
    for (password, expected) in [("right", "flowcommerce/user:0.0.4 sha256:"), ("wrong", "token service of registry")] {
        let file = sandbox.path(password);
        fs::write(&file, password)?;
        let settings = format!(
            "[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\nusername = \"me\"\npassword_file = {file:?}\n",
            registry.endpoint()
        );
        fs::write(&config, settings)?;
        let arguments = ["--image-repository", "flowcommerce/user", "--config", &config.display().to_string()];
        let (code, output) = once(&arguments, &[]).await?;
        assert!(output.contains(expected) && !output.contains(": wrong"), "{output}");
        assert_eq!(code, Some(i32::from(password == "wrong")), "{output}");
    }
    Ok(())
}
