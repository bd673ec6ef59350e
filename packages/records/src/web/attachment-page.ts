// One attachment: a diagnosis is shown as the text that `palimpsest diagnose` prints, everything else as a link.
import { diagnosisText } from "../cause/diagnosis.ts";
import type { Store } from "../store/open.ts";
import type { Attachment } from "../store/schema.ts";
import { page, sizeText } from "./layout.ts";
import { markup as html } from "./markup.ts";
import type { Visit } from "./sessions.ts";

const LARGEST_SHOWN = 8 << 20;

export async function attachmentPage(store: Store, visit: Visit, attachment: Attachment): Promise<string> {
  const { bug_id, id, title, size, content_type, file_name, is_patch } = attachment;
  const url = `/bugs/${bug_id}/+attachment/${id}`;
  const text = await shownText(store, attachment);
  return page(
    { title: `${title} : bug #${bug_id}`, visit, path: url },
    html`<h1>${title}</h1>
<p>Attachment of <a href="/bugs/${bug_id}">bug #${bug_id}</a>${is_patch && ", a patch"}</p>
<p><a href="${url}/+files/${encodeURIComponent(file_name)}">Download ${file_name}</a> (${sizeText(size)}, ${content_type})</p>
${text !== undefined && html`<pre tabindex="0" aria-label="Content">${text}</pre>`}`,
  );
}

async function shownText(
  store: Store,
  { digest, size, content_type, is_patch }: Attachment,
): Promise<string | undefined> {
  if (size > LARGEST_SHOWN) return undefined;
  if (content_type !== "application/json" && content_type !== "text/plain" && !is_patch) return undefined;
  const bytes = await store.blobs.get(digest);
  if (bytes === undefined) return undefined;
  const text = new TextDecoder().decode(bytes);
  return diagnosisText(text) ?? text.slice(0, 200_000);
}
