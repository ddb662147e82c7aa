//! In the place of the local AWS where this crate is built without it: there is none, and the
//! compiler knows.

use anyhow::Result;

use crate::first_image::Repository;
use crate::names::Application;
use crate::template::Parameters;
use crate::world::World;

/// A local AWS that can not exist.
#[derive(Clone, Debug)]
pub enum Local {}

impl Local {
    pub(crate) fn database_parameters(&self, _: &Application) -> Parameters {
        match *self {}
    }

    pub(crate) async fn serve_database(&self, _: &World, _: &Parameters) -> Result<Parameters> {
        match *self {}
    }

    pub(crate) async fn listener(&self) -> Result<Parameters> {
        match *self {}
    }

    pub(crate) fn address_of(&self, _: &str) -> String {
        match *self {}
    }

    pub(crate) fn sample_parameters(&self, _: &str) -> Parameters {
        match *self {}
    }

    pub(crate) async fn push_sample(&self, _: &World, _: &Repository) -> Result<String> {
        match *self {}
    }
}
