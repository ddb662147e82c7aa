//! Decides what a release will do, or that there is nothing to do. See the README.

mod commands;
mod decision;
mod entry_point;
mod failure;
mod handler;
mod identity;
mod image;
mod image_parameters;
mod migrations;
mod outputs;
mod repository;
mod services;
mod stack;

use bluegreen_release::Table;
use bluegreen_runtime::{Error, Web, serve};
use handler::Sources;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    bluegreen_runtime::init_logging();
    let table = bluegreen_runtime::required_variable("RELEASES_TABLE")?;
    let defaults = outputs::defaults_from_env()?;
    let web = Web::new()?;
    let config = bluegreen_runtime::from_env_with(&web)?;
    let sources = Sources {
        cloudformation: aws_sdk_cloudformation::Client::new(&config),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        ecr: aws_sdk_ecr::Client::new(&config),
        ecs: bluegreen_ecs::rate_limited_client(&config, bluegreen_ecs::PATIENCE),
        table: Table::new(aws_sdk_dynamodb::Client::new(&config), table),
        web,
        defaults,
    };
    serve(async |call| handler::handle(&sources, call.payload).await).await
}
