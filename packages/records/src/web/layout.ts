// What every page has around it. No script: reading and commenting work in any browser, and by keyboard.
import { escapeText, markup as html, Markup, type Part } from "./markup.ts";
import type { Visit } from "./sessions.ts";

export interface PageFrame {
  readonly title: string;
  readonly visit: Visit;
  /** where signing in leads back to */
  readonly path: string;
  readonly query?: string;
}

export function page({ title, visit, path, query }: PageFrame, main: Part): string {
  const who = visit.actor;
  const account = who
    ? html`<a href="/~${who.person.name}">${who.person.display_name} (${who.person.name})</a>
      <form method="post" action="/+logout"><input type="hidden" name="form_token" value="${visit.formToken}"><button>Log out</button></form>`
    : html`<a href="/+login?to=${encodeURIComponent(path)}">Log in</a>`;
  return html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} : Palimpsest records</title>
<link rel="stylesheet" href="/style.css">
<link rel="alternate" type="application/atom+xml" title="Changed records" href="/bugs.atom">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="home" href="/bugs">Palimpsest records</a>
<form role="search" action="/bugs" method="get"><label for="find">Search</label>
<input id="find" type="search" name="q" value="${query ?? ""}"><button>Search</button></form>
<nav aria-label="Account">${account}</nav>
</header>
<main id="main">
${main}
</main>
</body>
</html>
`.text;
}

/** "2011-08-31" */
export function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

export function time(date: Date): Markup {
  const iso = date.toISOString();
  return html`<time datetime="${iso}" title="${iso.replace("T", " ").replace(/\..*$/, " UTC")}">${day(date)}</time>`;
}

/** Text as it was written, with addresses and bug numbers as links. */
export function prose(text: string): Markup {
  const out: string[] = [];
  let last = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"')\]]+|\b(?:LP: #|[Bb]ug #?)(\d{1,9})\b/g)) {
    out.push(escapeText(text.slice(last, match.index)));
    const href = match[1] === undefined ? match[0] : `/bugs/${match[1]}`;
    out.push(`<a rel="nofollow" href="${escapeText(href)}">${escapeText(match[0])}</a>`);
    last = match.index + match[0].length;
  }
  out.push(escapeText(text.slice(last)));
  return new Markup(`<div class="text">${out.join("")}</div>`);
}

/** "4.9 KiB" */
export function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export const STYLE = `
:root { color-scheme: light; font-family: Ubuntu, "DejaVu Sans", sans-serif; color: #222; background: #fff; }
body { margin: 0 auto; max-width: 70rem; padding: 0 1rem 3rem; line-height: 1.45; }
a { color: #00539b; } a:focus, button:focus, input:focus, textarea:focus, select:focus { outline: 3px solid #b35900; outline-offset: 1px; }
.skip { position: absolute; left: -999rem; } .skip:focus { left: 1rem; background: #fff; }
header { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; border-bottom: 1px solid #999; padding: .6rem 0; }
header form { display: flex; gap: .3rem; align-items: center; } header nav { margin-left: auto; display: flex; gap: .6rem; align-items: center; }
.home { font-weight: bold; text-decoration: none; color: #222; }
h1 { font-size: 1.5rem; margin: .8rem 0 .2rem; } h2 { font-size: 1.15rem; margin: 1.4rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc; vertical-align: top; }
tr.series td:first-child { padding-left: 2rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; font-family: "Ubuntu Mono", "DejaVu Sans Mono", monospace; font-size: .9rem; }
pre { overflow-x: auto; background: #f4f4f4; padding: .6rem; } pre:focus { outline: 3px solid #b35900; }
article, .activity { border: 1px solid #bbb; margin: .8rem 0; padding: .5rem .8rem; } article > header { display: block; border: 0; padding: 0 0 .4rem; }
.activity { background: #f4f4f4; } .activity p { margin: .1rem 0; } .number { float: right; }
.tag { border: 1px solid #777; border-radius: 1rem; padding: 0 .5rem; margin-right: .3rem; text-decoration: none; }
.private { background: #8b0000; color: #fff; padding: .3rem .6rem; } .notice { background: #fff3cd; border: 1px solid #8a6d00; padding: .3rem .6rem; }
label { display: block; } header label { display: inline; } textarea { width: 100%; box-sizing: border-box; font: inherit; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dd { margin: 0; }
`;
