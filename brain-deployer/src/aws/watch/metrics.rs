//! GetMetricData: queries in, their points out. A page may hold a part of a query's points only.

use super::super::{Aws, signed};
use crate::cloud::{CloudError, ErrorKind, Result};
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, StatusCode},
};
use brain_core::{
    gate::metrics::{Ask, Points, Query},
    time::Timestamp,
};

/// Queries that one call takes (an AWS limit).
const QUERIES_AT_ONCE: usize = 500;
/// Most pages that are read. One has room for 100,800 points, more than any gate asks for.
const PAGES_MAX: usize = 10;

/// The points of each query.
pub(super) async fn read(aws: &Aws, ask: &Ask) -> Result<Vec<Points>> {
    let Ask { queries, from, to, period } = ask;
    let period_s = signed(u32::try_from(period.as_secs()).unwrap_or(u32::MAX));
    let mut answers = Vec::new();
    for queries in queries.chunks(QUERIES_AT_ONCE) {
        let mut gathered = Gathered::of(queries.len());
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let asked = queries.iter().enumerate().map(|(index, query)| query_of(index, query, period_s));
            let request = aws.watch.get_metric_data().set_metric_data_queries(Some(asked.collect()));
            let request = request.start_time(time(*from)).end_time(time(*to)).set_next_token(token);
            let page = aws.call("GetMetricData", request.send()).await?;
            for result in page.metric_data_results() {
                gathered.add(result).map_err(unexpected)?;
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
            if token.is_none() {
                break;
            }
        }
        answers.extend(gathered.end());
    }
    Ok(answers)
}

fn query_of(index: usize, query: &Query, period_s: i32) -> MetricDataQuery {
    let Query { namespace, name, dimensions, statistic } = query;
    let dimension = |(name, value): (&String, &String)| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder().namespace(namespace).metric_name(name);
    let metric = metric.set_dimensions(Some(dimensions.iter().map(dimension).collect())).build();
    let statistic = MetricStat::builder().metric(metric).period(period_s).stat(statistic).build();
    MetricDataQuery::builder().id(id(index)).metric_stat(statistic).return_data(true).build()
}

/// Ids begin with a lower-case letter.
fn id(index: usize) -> String {
    format!("q{index}")
}

fn time(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.0)
}

fn unexpected(message: String) -> CloudError {
    CloudError { action: "GetMetricData", code: "BadResponse".to_owned(), message, kind: ErrorKind::Transient }
}

/// What pages have brought of each query, and whether that is all.
struct Gathered(Vec<(Vec<f64>, Option<StatusCode>)>);

impl Gathered {
    fn of(queries: usize) -> Self {
        Self(vec![(Vec::new(), None); queries])
    }

    fn add(&mut self, result: &MetricDataResult) -> Result<(), String> {
        let index = result.id().and_then(|id| id.strip_prefix('q')?.parse::<usize>().ok());
        let Some((points, status)) = index.and_then(|index| self.0.get_mut(index)) else {
            return Err(format!("it answers {:?}, which was not asked", result.id().unwrap_or_default()));
        };
        points.extend_from_slice(result.values());
        *status = result.status_code().cloned();
        Ok(())
    }

    fn end(self) -> impl Iterator<Item = Points> {
        self.0.into_iter().map(|(points, status)| match status {
            Some(StatusCode::Complete) => Ok(points),
            Some(StatusCode::PartialData) => Err("CloudWatch gives a part of the data only".to_owned()),
            Some(StatusCode::Forbidden) => Err("CloudWatch does not let this deployer read it".to_owned()),
            Some(StatusCode::InternalError) => {
                Err("CloudWatch has an error of its own, and says to try again".to_owned())
            }
            Some(other) => Err(format!("CloudWatch answers with the status {:?}", other.as_str())),
            None => Err("CloudWatch does not answer it".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(index: usize, values: &[f64], status: StatusCode) -> MetricDataResult {
        MetricDataResult::builder().id(id(index)).set_values(Some(values.to_vec())).status_code(status).build()
    }

    #[test]
    fn points_of_several_pages_are_put_together_and_only_all_of_them_count() {
        let mut gathered = Gathered::of(5);
        for result in [
            page(0, &[1.0], StatusCode::PartialData),
            page(1, &[], StatusCode::Complete),
            page(2, &[9.0], StatusCode::PartialData),
            page(3, &[], StatusCode::Forbidden),
            page(0, &[2.0], StatusCode::Complete),
        ] {
            gathered.add(&result).unwrap();
        }
        let points: Vec<Points> = gathered.end().collect();
        assert_eq!((&points[0], &points[1]), (&Ok(vec![1.0, 2.0]), &Ok(Vec::new())));
        assert!(points[2..].iter().all(Result::is_err), "{points:?}");
    }

    #[test]
    fn an_answer_to_what_was_not_asked_is_none() {
        for odd in [page(1, &[], StatusCode::Complete), MetricDataResult::builder().id("x").build()] {
            assert!(Gathered::of(1).add(&odd).is_err());
        }
    }
}
