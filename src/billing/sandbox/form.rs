//! Parameters as Stripe takes them: `application/x-www-form-urlencoded` with names such as `items[0][price]`.
//!
//! What is read is taken out, and [`Params::finish`] refuses what is left: a parameter that the sandbox does not know is not passed over.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::error::Error;

/// How deep names may nest.
const DEEPEST: usize = 8;

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Branch(BTreeMap<String, Node>),
}

/// The parameters of a call, or those below a name.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// The name that these are below; empty for the call's own.
    below: String,
    nodes: BTreeMap<String, Node>,
}

impl Params {
    /// Reads a body or a query.
    pub fn read(encoded: &[u8]) -> Result<Self, Error> {
        let mut params = Self::default();
        for (name, value) in form_urlencoded::parse(encoded) {
            if value.contains('\0') {
                return Err(Error::invalid(&name, "Text with a NUL character cannot be stored."));
            }
            let path = path(&name).ok_or_else(|| Error::invalid(&name, format!("Invalid parameter name: {name}")))?;
            put(&mut params.nodes, &path, value.into_owned())
                .ok_or_else(|| Error::invalid(&name, format!("{name} is given in two forms.")))?;
        }
        Ok(params)
    }

    fn full(&self, name: &str) -> String {
        if self.below.is_empty() { name.to_owned() } else { format!("{}[{name}]", self.below) }
    }

    /// Whether it was sent.
    pub fn has(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// A value as it was sent; Stripe's way to empty a field is to send nothing in it.
    pub fn sent(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.nodes.remove(name) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(Node::Branch(_)) => Err(Error::invalid(&self.full(name), "Invalid string.")),
        }
    }

    /// A value that is not empty.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.sent(name)?.filter(|text| !text.is_empty()))
    }

    /// A value that has to be there.
    pub fn required(&mut self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| Error::Missing(self.full(name)))
    }

    /// A whole number that is not negative.
    pub fn count(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (0..=99_999_999_999).contains(number));
        number.map(Some).ok_or_else(|| Error::invalid(&self.full(name), format!("Invalid integer: {text}")))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(Error::invalid(&self.full(name), format!("Invalid boolean: {text}"))),
        }
    }

    /// One of several words.
    pub fn one_of(&mut self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let word = words.iter().find(|word| **word == text);
        word.copied().map(Some).ok_or_else(|| {
            Error::invalid(&self.full(name), format!("Invalid {name}: must be one of {}", words.join(", ")))
        })
    }

    /// An address to go to.
    pub fn url(&mut self, name: &str) -> Result<Option<String>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        // What Stripe puts the session's id for would not be left alone by a URL's own encoding.
        let is_url = url::Url::parse(&text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
        if is_url { Ok(Some(text)) } else { Err(Error::invalid(&self.full(name), "Not a valid URL")) }
    }

    /// What is below a name.
    pub fn branch(&mut self, name: &str) -> Result<Option<Self>, Error> {
        let below = self.full(name);
        match self.nodes.remove(name) {
            None => Ok(None),
            Some(Node::Branch(nodes)) => Ok(Some(Self { below, nodes })),
            Some(Node::Text(_)) => Err(Error::invalid(&below, "Invalid object")),
        }
    }

    /// The entries of a list of objects, in their order.
    pub fn list(&mut self, name: &str) -> Result<Vec<Self>, Error> {
        let Some(mut list) = self.branch(name)? else { return Ok(Vec::new()) };
        let names = list.in_order()?;
        names.iter().map(|index| Ok(list.branch(index)?.unwrap_or_default())).collect()
    }

    /// The entries of a list of values, in their order.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, Error> {
        let Some(mut list) = self.branch(name)? else { return Ok(Vec::new()) };
        let names = list.in_order()?;
        names.iter().map(|index| list.required(index)).collect()
    }

    fn in_order(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = self.nodes.keys().cloned().collect();
        if names.iter().any(|name| name.parse::<u16>().is_err()) {
            return Err(Error::invalid(&self.below, "Invalid array"));
        }
        names.sort_by_key(|name| name.parse::<u16>().unwrap_or_default());
        Ok(names)
    }

    /// Sets a field of an object where it was sent; empty sets it to null.
    pub fn set(&mut self, name: &str, object: &mut Value) -> Result<(), Error> {
        if let Some(text) = self.sent(name)? {
            object[name] = if text.is_empty() { Value::Null } else { text.into() };
        }
        Ok(())
    }

    /// Merges `metadata` into an object's own: an empty value removes its key, and an empty `metadata` all.
    pub fn metadata(&mut self, object: &mut Value) -> Result<(), Error> {
        if let Some(Node::Text(text)) = self.nodes.get("metadata")
            && text.is_empty()
        {
            self.nodes.remove("metadata");
            object["metadata"] = json!({});
        }
        let Some(sent) = self.branch("metadata")? else { return Ok(()) };
        for (key, node) in sent.nodes {
            match node {
                Node::Text(text) if text.is_empty() => {
                    object["metadata"].as_object_mut().map(|metadata| metadata.remove(&key));
                }
                Node::Text(text) => object["metadata"][key] = text.into(),
                Node::Branch(_) => return Err(Error::invalid(&format!("metadata[{key}]"), "Invalid string.")),
            }
        }
        Ok(())
    }

    /// Passes over what the sandbox has no use for, and Stripe takes.
    pub fn pass_over(&mut self, names: &[&str]) {
        for name in names {
            self.nodes.remove(*name);
        }
    }

    /// Refuses what nobody has read.
    pub fn finish(&self) -> Result<(), Error> {
        self.nodes.keys().next().map_or(Ok(()), |name| Err(Error::Unknown(self.full(name))))
    }
}

/// `a[b][0]` as its parts; nothing where brackets do not fit. An empty pair is the list's next place.
fn path(name: &str) -> Option<Vec<&str>> {
    let (first, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut parts = vec![first];
    while !rest.is_empty() {
        let (part, after) = rest.strip_prefix('[')?.split_once(']')?;
        parts.push(part);
        rest = after;
    }
    (!first.is_empty() && parts.len() <= DEEPEST).then_some(parts)
}

/// Nothing where a name has a value of its own and others below it.
fn put(nodes: &mut BTreeMap<String, Node>, path: &[&str], value: String) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let name = if first.is_empty() { nodes.len().to_string() } else { (*first).to_owned() };
    if rest.is_empty() {
        if let Some(Node::Branch(_)) = nodes.insert(name, Node::Text(value)) {
            return None;
        }
        return Some(());
    }
    match nodes.entry(name).or_insert_with(|| Node::Branch(BTreeMap::new())) {
        Node::Branch(nodes) => put(nodes, rest, value),
        Node::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Params {
        Params::read(text.as_bytes()).expect(text)
    }

    #[test]
    fn names_with_brackets_are_a_tree() {
        let mut params =
            read("items[0][price]=p1&items[1][price]=p2&metadata[tenant%20id]=7&expand[]=a&expand[]=b.c&x=1");
        let items = params.list("items").unwrap();
        let prices: Vec<_> = items.into_iter().map(|mut item| item.required("price").unwrap()).collect();
        assert_eq!(prices, ["p1", "p2"]);
        assert_eq!(params.texts("expand").unwrap(), ["a", "b.c"]);
        let mut object = json!({"metadata": {"gone": "1"}});
        params.metadata(&mut object).unwrap();
        assert_eq!(object, json!({"metadata": {"gone": "1", "tenant id": "7"}}));
        assert_eq!(params.finish().unwrap_err().body()["error"]["param"], "x");
    }

    #[test]
    fn metadata_is_merged_and_emptied() {
        let mut object = json!({"metadata": {"a": "1", "b": "2"}});
        read("metadata[a]=&metadata[c]=3").metadata(&mut object).unwrap();
        assert_eq!(object["metadata"], json!({"b": "2", "c": "3"}));
        read("metadata=").metadata(&mut object).unwrap();
        assert_eq!(object["metadata"], json!({}));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_name() {
        for bad in ["a[=1", "a]b[=1", "[a]=1", "a=1&a[b]=2", "a[b]=1&a=2", "a[1][2][3][4][5][6][7][8]=1", "a=%00"] {
            assert!(Params::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut params = read("items[0][quantity]=-1&flag=yes&word=c&list[a]=1&count=99999999999999");
        let mut item = params.list("items").unwrap().remove(0);
        assert_eq!(item.count("quantity").unwrap_err().body()["error"]["param"], "items[0][quantity]");
        assert_eq!(item.required("price").unwrap_err().body()["error"]["param"], "items[0][price]");
        assert!(params.flag("flag").is_err());
        assert!(params.one_of("word", &["a", "b"]).is_err());
        assert!(params.texts("list").is_err());
        assert!(params.count("count").is_err());
    }
}
