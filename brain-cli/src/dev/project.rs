//! The project of `brain dev`: the seed's `user`, with the local git repository and registry.

use super::house::{IMAGES, Local, REPOSITORY};
use crate::{client::Client, client::ask, failure::Failure};
use brain_proto::v1::{CreateProjectRequest, GetProjectRequest, Project, Source, Target};
use tonic::Code;

/// Its name.
pub(super) const NAME: &str = "projects/user";
/// Who is named in the log.
const WHO: &str = "brain dev";

/// Makes it, unless it is there from an earlier start.
pub(super) async fn make(client: &Client, local: &Local) -> Result<(), Failure> {
    let there = client.projects().get_project(ask(GetProjectRequest { name: NAME.to_owned() })).await;
    match there {
        Ok(_) => return Ok(()),
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => return Err(status.into()),
    }
    let project = Project {
        name: NAME.to_owned(),
        source: Some(Source {
            git_url: format!("http://{}/{REPOSITORY}.git", local.address),
            branch: "master".to_owned(),
            ..Source::default()
        }),
        image_repository: IMAGES.to_owned(),
        target: Some(Target {
            region: "us-east-1".to_owned(),
            host_port: 6041,
            container_port: 9000,
            desired_count: 3,
            ..Target::default()
        }),
        ..Project::default()
    };
    client
        .projects()
        .create_project(ask(CreateProjectRequest { project: Some(project), requested_by: WHO.to_owned() }))
        .await?;
    Ok(())
}
