//! One set of AWS clients for each region and role, made when it is first needed.

use crate::{aws::Aws, cloud::Cloud};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// The clouds by region and role.
#[derive(Default)]
pub(crate) struct Clouds(Mutex<HashMap<(String, String), Arc<Aws>>>);

impl Clouds {
    /// The cloud of a region, as `role` sees it; empty: as the deployer's own credentials do.
    pub(crate) async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud> {
        let mut clouds = self.0.lock().await;
        let key = (region.to_owned(), role.to_owned());
        if let Some(cloud) = clouds.get(&key) {
            return Arc::clone(cloud) as Arc<dyn Cloud>;
        }
        let cloud = Arc::new(Aws::connect(region, role).await);
        clouds.insert(key, Arc::clone(&cloud));
        cloud
    }
}
