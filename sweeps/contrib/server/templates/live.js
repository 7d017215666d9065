"use strict";
const live = document.getElementById("live");
const lost = document.getElementById("lost");
const source = new EventSource("/events" + location.pathname.replace(/\/$/, ""));
{# What is being read stays: nothing is replaced while text is selected, and the focus goes back to its link. #}
const say = (text) => { lost.textContent = text; lost.hidden = !text; };
source.addEventListener("page", (event) => {
  say("");
  if (!getSelection().isCollapsed) return;
  const at = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  live.innerHTML = JSON.parse(event.data);
  if (at) live.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus();
});
source.addEventListener("trouble", (event) => say(JSON.parse(event.data)));
source.onerror = () => {
  say("The service does not answer; what you see may be old. Trying again.");
  if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
};
