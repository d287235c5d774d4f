/**
 * The SQL that makes a table tell of its changes itself, whoever makes them: three triggers for each statement, with its transition tables, and one for truncate.
 *
 * Keys are written as `feedmessage.ts` reads them, where it is sure that they are what the program has: by the model, which takes the column's value as it comes, and
 * by the type that the column has when the trigger runs, whose text must not depend on who is connected. Otherwise the table is named, without keys.
 * Every name of the user's gets in by `identifier` or `literal`.
 */
import * as Table from "@effecto/core/Table"
import { Hash, Schema, SchemaAST } from "effect"
import { VERSION } from "./feedmessage.js"

const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** Right whatever `standard_conforming_strings` says. */
const literal = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted
}

/** A text between dollars, whatever it holds. */
const dollars = (body: string): string => {
  let tag = "$effecto$"
  for (let n = 1; body.includes(tag); n += 1) tag = `$effecto${n}$`
  return `${tag}${body}${tag}`
}

type Kind = "number" | "string" | "bigint" | "boolean"

/** What JavaScript has for a field, where that is one kind of thing, and the one that the driver gives. */
const kindOf = (ast: SchemaAST.AST): Kind | undefined => {
  if (ast === Schema.NumberFromString.ast) return "number"
  if (ast === Schema.BigInt.ast) return "bigint"
  if (SchemaAST.isNumberKeyword(ast)) return "number"
  if (SchemaAST.isStringKeyword(ast) || SchemaAST.isTemplateLiteral(ast)) return "string"
  if (SchemaAST.isBigIntKeyword(ast)) return "bigint"
  if (SchemaAST.isBooleanKeyword(ast)) return "boolean"
  if (SchemaAST.isRefinement(ast)) return kindOf(ast.from)
  if (SchemaAST.isLiteral(ast))
    return typeof ast.literal === "string" || typeof ast.literal === "number" ? (typeof ast.literal as Kind) : undefined
  if (SchemaAST.isUnion(ast)) {
    const kinds = new Set(ast.types.map(kindOf))
    return kinds.size === 1 ? [...kinds][0] : undefined
  }
  return undefined
}

const integers = ["int2", "int4", "int8", "numeric"]

/** The types of columns of which a program has just that. */
const typesOf: { readonly [K in Kind]: ReadonlyArray<string> } = {
  number: [...integers, "float4", "float8"],
  // int8 and numeric come as texts.
  string: ["text", "varchar", "bpchar", "name", "citext", "uuid", "int8", "numeric", "inet", "cidr", "macaddr"],
  bigint: integers,
  boolean: ["bool"]
}

const expressionOf: { readonly [K in Kind]: (column: string) => string } = {
  number: (column) => `to_jsonb(${column})`,
  // As the type's own output has it, which is what the driver gets: a cast to text takes the spaces off a char(n).
  string: (column) => `to_jsonb(format('%s', ${column}))`,
  bigint: (column) => `jsonb_build_object('b', ${column}::text)`,
  boolean: (column) => `to_jsonb(${column})`
}

interface Key {
  /** The key of a row as JSON, in SQL. */
  readonly expression: string
  /** Whether the columns of the table that the trigger is on have types that this is right for, in SQL. */
  readonly isSure: string
}

const astOf = (field: unknown): SchemaAST.AST | undefined => {
  if (Schema.isSchema(field)) return field.ast
  if (!Schema.isPropertySignature(field)) return undefined
  const { ast } = field
  return ast._tag === "PropertySignatureDeclaration" ? ast.type : undefined
}

/** Whether a column has one of these types, or a domain over one. An enum is a text. */
const hasType = (column: string, kind: Kind): string =>
  `exists (select 1 from pg_attribute as a join pg_type as t on t.oid = a.atttypid left join pg_type as base on base.oid = t.typbasetype where a.attrelid = tg_relid and a.attname = ${literal(column)} and (coalesce(base.typname, t.typname) in (${typesOf[kind].map(literal).join(", ")})${kind === "string" ? " or coalesce(base.typtype, t.typtype) = 'e'" : ""}))`

/** Nothing where it is not sure how the program has it. */
const keyOf = (table: Table.Any): Key | undefined => {
  const fields: Readonly<Record<string, unknown>> = table.model.fields
  const parts: Array<{ readonly field: string; readonly expression: string; readonly isSure: string }> = []
  for (const { column, field } of Table.keyColumns(table)) {
    const ast = astOf(fields[field])
    const kind = ast && kindOf(ast)
    if (kind === undefined) return undefined
    parts.push({ field, expression: expressionOf[kind](identifier(column)), isSure: hasType(column, kind) })
  }
  const [first] = parts
  if (first === undefined) return undefined
  const isSure = parts.map(({ isSure }) => isSure).join(" and ")
  if (typeof table.key === "string") return { expression: first.expression, isSure }
  const all = parts.map(({ expression, field }) => `${literal(field)}, ${expression}`).join(", ")
  return { expression: `jsonb_build_object('k', jsonb_build_object(${all}))`, isSure }
}

/** Names of PostgreSQL have 63 bytes: longer ones would be cut, and two of them could become one. */
const nameOf = (table: Table.Any): string => {
  const short = [...table.name].filter((letter) => /[a-z0-9_]/i.test(letter)).slice(0, 24)
  const hash = (Hash.string(`${table.schema ?? ""}.${table.name}`) >>> 0).toString(16)
  return `effecto_changes_${short.join("")}_${hash}`
}

const qualified = (schema: string | undefined, name: string): string =>
  schema === undefined ? identifier(name) : `${identifier(schema)}.${identifier(name)}`

const operations = ["insert", "update", "delete", "truncate"] as const

export const uninstall = (table: Table.Any): string => {
  const on = qualified(table.schema, table.name)
  const name = nameOf(table)
  return [
    ...operations.map((operation) => `drop trigger if exists ${identifier(`${name}_${operation}`)} on ${on};`),
    `drop function if exists ${qualified(table.schema, name)}();`
  ].join("\n")
}

export const install = (table: Table.Any, channel: string, most: number): string => {
  const on = qualified(table.schema, table.name)
  const name = nameOf(table)
  const run = qualified(table.schema, name)
  const key = keyOf(table)
  // As the table is called when it is written: it may have been renamed since, which triggers survive.
  const line = (keys: string) =>
    `jsonb_build_array(jsonb_build_array(${table.schema === undefined ? "null" : "tg_table_schema"}, tg_table_name, ${keys}))`
  const payload = (keys: string) =>
    `jsonb_build_object('v', ${VERSION}, 't', ${line(keys)}, 'at', floor(extract(epoch from clock_timestamp()) * 1000)::bigint)::text`
  const sources = {
    INSERT: "select #key# as key from effecto_new",
    UPDATE: "select #key# as key from effecto_old union select #key# from effecto_new",
    DELETE: "select #key# as key from effecto_old"
  }
  const read = (operation: keyof typeof sources) =>
    `  ${operation === "INSERT" ? "if" : "elsif"} tg_op = '${operation}' then
    select jsonb_agg(few.key) into effecto_keys from (select distinct every_one.key from (${sources[operation].replaceAll("#key#", () => key?.expression ?? "'0'::jsonb")}) as every_one limit ${most + 1}) as few;
    if effecto_keys is null then return null; end if;`
  const body = `
#variable_conflict use_column
declare
  effecto_keys jsonb;
  effecto_payload text;
begin
${read("INSERT")}
${read("UPDATE")}
${read("DELETE")}
  end if;
  ${
    key === undefined
      ? `effecto_payload := ${payload("0")};`
      : `if effecto_keys is null or jsonb_array_length(effecto_keys) > ${most} or not (${key.isSure}) then
    effecto_payload := ${payload("0")};
  else
    effecto_payload := ${payload("effecto_keys")};
    if octet_length(effecto_payload) > 7999 then effecto_payload := ${payload("0")}; end if;
  end if;`
  }
  perform pg_notify(${literal(channel)}, effecto_payload);
  return null;
end
`
  const referencing = {
    insert: "referencing new table as effecto_new ",
    update: "referencing old table as effecto_old new table as effecto_new ",
    delete: "referencing old table as effecto_old ",
    truncate: ""
  }
  return [
    `create or replace function ${run}() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as ${dollars(body)};`,
    ...operations.flatMap((operation) => [
      `drop trigger if exists ${identifier(`${name}_${operation}`)} on ${on};`,
      `create trigger ${identifier(`${name}_${operation}`)} after ${operation} on ${on} ${referencing[operation]}for each statement execute function ${run}();`
    ])
  ].join("\n")
}
