//! `expand[]`: objects in the place of their ids (<https://docs.stripe.com/api/expanding_objects>).

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::Value;

use super::{
    error::Error,
    store::{HIDDEN, find},
};

/// How many steps a path may have, as at Stripe.
const DEEPEST: usize = 4;

/// Puts in everything that `paths` name.
pub async fn expand(db: &impl ConnectionTrait, answer: &mut Value, paths: &[String]) -> Result<(), Error> {
    for path in paths {
        if path.split('.').filter(|step| *step != "data").count() > DEEPEST {
            return Err(Error::invalid(
                "expand",
                format!("You cannot expand more than {DEEPEST} levels of a property ({path})."),
            ));
        }
        let mut places = vec![String::new()];
        for step in path.split('.') {
            let mut next = Vec::new();
            let entries: Vec<String> = places.iter().flat_map(|place| entries(answer, place)).collect();
            for place in entries {
                let Some(object) = answer.pointer_mut(&place) else { continue };
                match put(db, object, step).await? {
                    Put::There => next.push(format!("{place}/{step}")),
                    Put::Nothing => {}
                    Put::Unfit => {
                        return Err(Error::invalid("expand", format!("This property cannot be expanded ({path}).")));
                    }
                }
            }
            places = next;
        }
    }
    Ok(())
}

/// A place, or all places of the list that is there.
fn entries(answer: &Value, place: &str) -> Vec<String> {
    match answer.pointer(place) {
        Some(Value::Array(items)) => (0..items.len()).map(|n| format!("{place}/{n}")).collect(),
        _ => vec![place.to_owned()],
    }
}

enum Put {
    /// There is something to go on with.
    There,
    /// There is null.
    Nothing,
    /// There is no such name, or what is there is no id.
    Unfit,
}

/// An id becomes its object, and what is shown only on demand is shown.
async fn put(db: &impl ConnectionTrait, object: &mut Value, name: &str) -> Result<Put, DbErr> {
    if object.get(name).is_none() {
        let hidden = object.get(HIDDEN).and_then(|hidden| hidden.get(name)).filter(|hidden| hidden["object"] == "list");
        let Some(hidden) = hidden.cloned() else { return Ok(Put::Unfit) };
        object[name] = hidden;
    }
    if let Some(id) = object[name].as_str() {
        let Some(found) = find(db, id).await? else { return Ok(Put::Unfit) };
        object[name] = found;
    }
    Ok(match &object[name] {
        Value::Null => Put::Nothing,
        Value::Object(_) | Value::Array(_) => Put::There,
        _ => Put::Unfit,
    })
}
