"use strict";
const live = document.getElementById("live");
const lost = document.getElementById("lost");
const source = new EventSource("/events" + location.pathname.replace(/\/$/, ""));
const say = (text) => { lost.textContent = text; lost.hidden = !text; };

{# What a reader has opened, chosen or focused outlives a new page. Tables are for readers without a script. #}
const opened = new Set();
let chosen = "";
let next = "";
const taskOf = (dot) => dot.textContent.split(": ")[0];

const show = () => {
  for (const part of live.querySelectorAll("details")) part.open = opened.has(part.id);
  for (const figure of live.querySelectorAll("figure")) {
    const dots = [...figure.querySelectorAll("circle")];
    const dot = dots.find((circle) => taskOf(circle) === chosen);
    for (const other of dots) other.classList.toggle("chosen", other === dot);
    figure.querySelector("output").textContent = dot ? dot.textContent : dots.length ? "Point at a trial, or tap it." : "No trial has started yet.";
  }
};
const choose = (event) => {
  const dot = event.target.closest("circle");
  if (!dot) return;
  chosen = taskOf(dot);
  show();
};
{# Nothing is replaced while text is selected or a button is pressed: it would be gone. #}
const replace = () => {
  if (!next) return;
  if (!getSelection().isCollapsed || live.querySelector("button:active, summary:active")) {
    setTimeout(replace, 500);
    return;
  }
  const focus = live.contains(document.activeElement) ? document.activeElement : null;
  const at = focus?.getAttribute("href") ?? focus?.closest("#live [id]")?.id;
  live.innerHTML = next;
  next = "";
  show();
  if (at) live.querySelector(`a[href="${CSS.escape(at)}"], #${CSS.escape(at)} :is(button, summary)`)?.focus();
};

live.addEventListener("pointerover", choose);
live.addEventListener("click", choose);
live.addEventListener("toggle", (event) => opened[event.target.open ? "add" : "delete"](event.target.id), true);
source.addEventListener("page", (event) => {
  say("");
  next = JSON.parse(event.data);
  replace();
});
source.addEventListener("trouble", (event) => say(JSON.parse(event.data)));
source.onerror = () => {
  say("The service does not answer; this page may be out of date. Trying again.");
  if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
};
show();
