//! A browser without JavaScript: it keeps cookies, follows redirects and sends the forms that it was shown.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode, header};

use super::Product;

/// One browser, with its cookies and the page that it shows.
#[derive(Clone)]
pub struct Browser<'a> {
    product: &'a Product,
    client: reqwest::Client,
    cookies: BTreeMap<String, String>,
    /// Where it is: path and query.
    pub path: String,
    /// How that was answered.
    pub status: StatusCode,
    /// The page.
    pub html: String,
    /// The answer's headers.
    pub headers: header::HeaderMap,
}

/// A form on a page: where it goes, and its fields as they stand.
#[derive(Clone, Debug)]
pub struct FormOn {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl FormOn {
    /// Types into a field, or presses the button of that name.
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl<'a> Browser<'a> {
    pub fn new(product: &'a Product) -> Self {
        let none = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(none).build().expect("a client");
        let (status, headers) = (StatusCode::OK, header::HeaderMap::new());
        Self { product, client, cookies: BTreeMap::new(), path: String::new(), status, html: String::new(), headers }
    }

    /// Goes to a page, and where it leads.
    pub async fn go(&mut self, path: &str) {
        self.walk(Method::GET, path, None, &[]).await;
    }

    /// Sends a form of the page, and goes where that leads.
    pub async fn send(&mut self, form: &FormOn) {
        self.send_with(form, &[("sec-fetch-site", "same-origin")]).await;
    }

    /// Sends a form with headers that tell where it was.
    pub async fn send_with(&mut self, form: &FormOn, headers: &[(&str, &str)]) {
        let body = serde_urlencoded::to_string(&form.fields).expect("text");
        self.walk(Method::POST, &form.action, Some(body), headers).await;
    }

    /// The page's form with that action.
    #[track_caller]
    pub fn form(&self, action: &str) -> FormOn {
        let forms = self.html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap_or_default());
        let mut forms = forms.filter(|form| attribute(form, "action").as_deref() == Some(action));
        let form = forms.next().unwrap_or_else(|| panic!("no form to {action} at {}:\n{}", self.path, self.html));
        let inputs = form.split("<input").skip(1).filter_map(|input| {
            let input = input.split('>').next()?;
            Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))
        });
        let selects = form.split("<select").skip(1).filter_map(|select| {
            let chosen = select.split("<option").find(|option| option.contains(" selected"));
            let chosen = chosen.and_then(|option| attribute(option, "value")).unwrap_or_default();
            Some((attribute(select, "name")?, chosen))
        });
        let texts = form.split("<textarea").skip(1).filter_map(|area| {
            let (_, text) = area.split_once('>')?;
            // A browser leaves out the line break that the tag ends with.
            let text = text.split("</textarea>").next()?;
            Some((attribute(area, "name")?, unescaped(text.strip_prefix('\n').unwrap_or(text))))
        });
        FormOn { action: action.to_owned(), fields: inputs.chain(selects).chain(texts).collect() }
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Loses a cookie, or puts another value in its place.
    pub fn set_cookie(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.cookies.insert(name.to_owned(), value.to_owned()),
            None => self.cookies.remove(name),
        };
    }

    async fn walk(&mut self, method: Method, path: &str, body: Option<String>, headers: &[(&str, &str)]) {
        let (mut method, mut path, mut body, mut headers) = (method, path.to_owned(), body, headers);
        for _ in 0..8 {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut request = self.client.request(method, format!("{}{path}", self.product.url));
            request = request.header(header::ACCEPT, "text/html,*/*;q=0.8").header(header::COOKIE, cookies.join("; "));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = body.take() {
                request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            }
            let answer = request.send().await.expect("an answer");
            for cookie in answer.headers().get_all(header::SET_COOKIE) {
                self.keep(cookie.to_str().expect("text"));
            }
            self.status = answer.status();
            self.headers = answer.headers().clone();
            self.path = path;
            let Some(next) = answer.headers().get(header::LOCATION) else {
                self.html = answer.text().await.expect("text");
                return;
            };
            let next = next.to_str().expect("text");
            // A whole address leads back to this product: the tests' ports are not the public one.
            let whole = url::Url::parse(next).map(|url| url[url::Position::BeforePath..].to_owned());
            path = whole.unwrap_or_else(|_| next.to_owned());
            (method, headers) = (Method::GET, &[]);
        }
        panic!("redirects without end at {}", self.path);
    }

    fn keep(&mut self, cookie: &str) {
        let pair = cookie.split(';').next().unwrap_or_default();
        let (name, value) = pair.split_once('=').expect("a name and a value");
        if cookie.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// An attribute of the first element in a piece of HTML, unescaped as far as our own pages escape.
fn attribute(html: &str, name: &str) -> Option<String> {
    let tag = html.split('>').next()?;
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    Some(unescaped(value))
}

fn unescaped(text: &str) -> String {
    let escapes = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    escapes.iter().fold(text.to_owned(), |text, (escape, letter)| text.replace(escape, letter))
}
