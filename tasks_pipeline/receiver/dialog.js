(function (settings) {
  "use strict";
  // The address of this script is where the report goes: it holds the DSN and the event id.
  var address = document.currentScript && document.currentScript.src;
  var STYLE =
    "position:fixed;inset:0;z-index:2147483647;overflow:auto;background:rgba(0,0,0,.5);" +
    "font:16px/1.4 system-ui,sans-serif;color:#222";
  var BOX = "max-width:32em;margin:5vh auto;padding:1.5em;background:#fff;border-radius:6px";
  var FIELD = "display:block;width:100%;box-sizing:border-box;margin:.2em 0 1em;padding:.5em;font:inherit";

  function element(name, style, text) {
    var node = document.createElement(name);
    if (style) node.style.cssText = style;
    if (text) node.textContent = text;
    return node;
  }

  function field(form, kind, name, label, value) {
    var line = element("label", "display:block", label);
    var input = element(kind, FIELD);
    input.name = name;
    input.value = value;
    input.required = true;
    if (name === "email") input.type = "email";
    if (kind === "textarea") input.rows = 5;
    line.appendChild(input);
    form.appendChild(line);
    return input;
  }

  function show() {
    var shade = element("div", STYLE);
    shade.setAttribute("role", "dialog");
    shade.setAttribute("aria-modal", "true");
    shade.setAttribute("aria-label", settings.title);
    var form = element("form", BOX);
    form.appendChild(element("h2", "margin:0 0 .3em", settings.title));
    form.appendChild(element("p", "margin:0 0 1em", settings.subtitle + " " + settings.subtitle2));
    var name = field(form, "input", "name", settings.labelName, settings.name);
    var email = field(form, "input", "email", settings.labelEmail, settings.email);
    var comments = field(form, "textarea", "comments", settings.labelComments, "");
    var state = element("p", "margin:0 0 1em");
    state.setAttribute("role", "status");
    var submit = element("button", "font:inherit;padding:.5em 1em;margin-right:1em", settings.labelSubmit);
    var close = element("button", "font:inherit;padding:.5em 1em", settings.labelClose);
    submit.type = "submit";
    close.type = "button";
    [state, submit, close].forEach(function (node) { form.appendChild(node); });
    shade.appendChild(form);
    document.body.appendChild(shade);
    (name.value ? comments : name).focus();

    function remove() { shade.remove(); }
    close.onclick = remove;
    shade.onkeydown = function (event) { if (event.key === "Escape") remove(); };
    form.onsubmit = function (event) {
      event.preventDefault();
      submit.disabled = true;
      var body = new URLSearchParams({ name: name.value, email: email.value, comments: comments.value });
      fetch(address, { method: "POST", body: body }).then(function (answer) {
        if (!answer.ok) throw new Error(String(answer.status));
        form.replaceChildren(element("p", "", settings.successMessage), close);
        close.focus();
      }).catch(function () {
        submit.disabled = false;
        state.textContent = settings.errorGeneric;
      });
    };
  }

  if (!address) return;
  if (document.body) show();
  else document.addEventListener("DOMContentLoaded", show);
})(__SETTINGS__);
