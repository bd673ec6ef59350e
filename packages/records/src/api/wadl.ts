// The service described in WADL, which Launchpad's client reads before it does anything else. Made from types.ts.
import { type Markup, markup } from "../web/markup.ts";
import type { Field, Operation, Parameter, ResourceType, Value } from "./definition.ts";
import { COLLECTIONS, TYPES } from "./types.ts";

const xml = markup;

/** @param base "http://127.0.0.1:8080/1.0", the address the client used */
export function wadl(base: string): string {
  const root = `${base}/`;
  const pageTypes = TYPES.filter((type) => type.fields.length > 0 || type.name === "bug_branch");
  const document = xml`<?xml version="1.0" encoding="UTF-8"?>
<application xmlns="http://research.sun.com/wadl/2006/10" xmlns:xsd="http://www.w3.org/2001/XMLSchema">
<resources base="${root}"><resource path="" type="#service-root"/></resources>
<resource_type id="service-root"><method name="GET" id="service-root-get"><response>
<representation href="#service-root-json"/></response></method></resource_type>
<representation id="service-root-json" mediaType="application/json">
${COLLECTIONS.map(
  ({ name }) =>
    xml`<param style="plain" name="${name}_collection_link" path="$['${name}_collection_link']"><link resource_type="${root}#${name}"/></param>`,
)}<param style="plain" name="me_link" path="$['me_link']"><link resource_type="${root}#person"/></param>
</representation>
${COLLECTIONS.map((type) => collectionType(root, type))}
${TYPES.map((type) => entryType(root, type))}
${pageTypes.map(({ name }) => pageType(root, name))}
<resource_type id="HostedFile"><method name="GET" id="HostedFile-get"><response><representation/></response></method>
<method name="PUT" id="HostedFile-put"><request><representation/></request></method>
<method name="DELETE" id="HostedFile-delete"/></resource_type>
<resource_type id="ScalarValue"><method name="GET" id="ScalarValue-get"><response>
<representation mediaType="application/json"/></response></method></resource_type>
</application>
`;
  return document.text;
}

function collectionType(root: string, { name, collectionOf, operations }: ResourceType): Markup {
  return xml`<resource_type id="${name}"><method name="GET" id="${name}-get"><response>
<representation href="${root}#${collectionOf ?? ""}-page"/></response></method>
${operations.map((each) => operation(root, name, each))}</resource_type>
`;
}

function entryType(root: string, { name, fields, operations, canDelete }: ResourceType): Markup {
  return xml`<resource_type id="${name}"><method name="GET" id="${name}-get"><response>
<representation href="${root}#${name}-full"/></response></method>
<method name="PATCH" id="${name}-patch"><request><representation href="${root}#${name}-diff"/></request></method>
<method name="PUT" id="${name}-put"><request><representation href="${root}#${name}-full"/></request></method>
${canDelete ? xml`<method name="DELETE" id="${name}-delete"/>` : ""}
${operations.map((each) => operation(root, name, each))}</resource_type>
<representation id="${name}-full" mediaType="application/json">
<param style="plain" name="self_link" path="$['self_link']"><link resource_type="${root}#${name}"/></param>
<param style="plain" name="web_link" path="$['web_link']"><link/></param>
<param style="plain" name="resource_type_link" path="$['resource_type_link']"><link/></param>
<param style="plain" name="http_etag" path="$['http_etag']"/>
${fields.map((each) => fieldOf(root, each))}</representation>
<representation id="${name}-diff" mediaType="application/json">
${fields.filter((each) => each.writable).map((each) => fieldOf(root, each))}</representation>
`;
}

function pageType(root: string, name: string): Markup {
  return xml`<resource_type id="${name}-page-resource"><method name="GET" id="${name}-page-resource-get"><response>
<representation href="${root}#${name}-page"/></response></method></resource_type>
<representation id="${name}-page" mediaType="application/json">
<param style="plain" name="resource_type_link" path="$['resource_type_link']"><link/></param>
<param style="plain" name="total_size" path="$['total_size']" required="false"/>
<param style="plain" name="total_size_link" path="$['total_size_link']" required="false"><link resource_type="${root}#ScalarValue"/></param>
<param style="plain" name="start" path="$['start']" required="true"/>
<param style="plain" name="next_collection_link" path="$['next_collection_link']"><link resource_type="#${name}-page-resource"/></param>
<param style="plain" name="prev_collection_link" path="$['prev_collection_link']"><link resource_type="#${name}-page-resource"/></param>
<param style="plain" name="entries" path="$['entries']" required="true"/>
<param style="plain" name="entry_links" path="$['entries'][*]['self_link']"><link resource_type="${root}#${name}"/></param>
</representation>
`;
}

function fieldOf(root: string, { name, value }: Field): Markup {
  const type = value.is === "hosted" ? xml` type="binary"` : typeOf(value);
  return xml`<param style="plain" name="${name}" path="$['${name}']"${type}>${inside(root, value)}</param>
`;
}

function typeOf(value: Parameter["value"]): Markup | "" {
  if (value.is === "date") return xml` type="xsd:dateTime"`;
  return value.is === "binary" ? xml` type="binary"` : "";
}

function inside(root: string, value: Value | { readonly is: "binary" }): Markup | Markup[] | "" {
  switch (value.is) {
    case "choice":
      return value.options.map((each) => xml`<option value="${each}"/>`);
    case "link":
      return xml`<link resource_type="${root}#${value.to}"/>`;
    case "collection":
      return xml`<link resource_type="${root}#${value.of}-page-resource"/>`;
    case "hosted":
      return xml`<link resource_type="${root}#HostedFile"/>`;
    default:
      return "";
  }
}

function operation(root: string, owner: string, { name, method, parameters, returns }: Operation): Markup {
  const all = parameters.map(
    (each) =>
      xml`<param style="query" name="${each.name}" required="${each.required ? "true" : "false"}"${typeOf(each.value)}>${inside(root, each.value)}</param>`,
  );
  const op = xml`<param style="query" name="ws.op" required="true" fixed="${name}"/>`;
  const isMultipart = parameters.some((each) => each.value.is === "binary");
  const request =
    method === "GET"
      ? xml`${op}${all}`
      : xml`<representation mediaType="${isMultipart ? "multipart/form-data" : "application/x-www-form-urlencoded"}">${op}${all}</representation>`;
  return xml`<method name="${method}" id="${owner}-${name}"><request>${request}</request>${response(root, returns)}</method>
`;
}

function response(root: string, returns: Operation["returns"]): Markup | "" {
  if (returns === "value") return "";
  if ("page" in returns) return xml`<response><representation href="${root}#${returns.page}-page"/></response>`;
  if ("entry" in returns) return xml`<response><representation href="${root}#${returns.entry}-full"/></response>`;
  return xml`<response><param name="Location" style="header"><link resource_type="${root}#${returns.creates}"/></param></response>`;
}
