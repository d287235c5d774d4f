/**
 * Whether a model's constructor does nothing but assign the fields it is given, so that rows can be made without it.
 *
 * That is read from the sources of its classes, because no instance shows it: private fields cannot be seen, and a default shows only in rows that
 * lack its field. Methods and accessors are fine. Whatever else is found, and whatever is not understood, means that the constructor runs.
 */
import { Model } from "@effect/sql"
import type { Schema } from "effect"

const sourceOf = (value: unknown): string => Function.prototype.toString.call(value)

const parents = (model: unknown): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  for (let at: unknown = model; typeof at === "function" && at !== Function.prototype; at = Object.getPrototypeOf(at))
    found.push(at)
  return found
}

/** The sources of what Model.Class itself makes: they are known to assign, when no field has a default. */
const known: ReadonlySet<string> = new Set(parents(Model.Class("known")({})).map(sourceOf))

const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" }

/** The text of a class, with everything in its brackets left out, body excepted; nothing when it is not understood. */
const body = (text: string): string | undefined => {
  const open: Array<string> = []
  let outline = ""
  let at = 0
  /** To the end of a string or a comment. */
  const skip = (end: string): boolean => {
    for (at += 1; at < text.length; at += 1) {
      if (text[at] === "\\" && end.length === 1) at += 1
      else if (text.startsWith(end, at)) {
        at += end.length
        return true
      }
    }
    return false
  }
  while (at < text.length) {
    const letter = text[at] ?? ""
    const inTemplate = open.at(-1) === "`"
    if (letter === "\\" && inTemplate) at += 2
    else if (letter === "`") {
      if (inTemplate) open.pop()
      else open.push("`")
      at += 1
    } else if (inTemplate) {
      if (text.startsWith("${", at)) {
        open.push("}")
        at += 2
      } else at += 1
    } else if (letter === '"' || letter === "'") {
      // A name in quotes, of a method or of a field.
      if (open.length === 1 && open[0] === "}") outline += letter
      if (!skip(letter)) return undefined
    } else if (letter === "/") {
      // A division or a regular expression: which of them takes a parser to say.
      const end = text[at + 1] === "/" ? "\n" : text[at + 1] === "*" ? "*/" : undefined
      if (end === undefined || !skip(end)) return undefined
    } else {
      const close = closing[letter]
      if (close !== undefined) {
        // The last of the outermost braces is the body: what came before was the class it extends.
        if (open.length === 0 && letter === "{") outline = ""
        else if (open.length === 1 && open[0] === "}") outline += letter
        open.push(close)
      } else if (letter === ")" || letter === "]" || letter === "}") {
        if (open.pop() !== letter) return undefined
        if (open.length === 1 && open[0] === "}") outline += letter
      } else if (open.length === 1 && open[0] === "}") outline += letter
      at += 1
    }
  }
  return open.length === 0 ? outline : undefined
}

/** Methods and accessors, one after the other, and blocks that run once for the class. */
const onlyMethods =
  /^(?:[\s;]|static\s*\{\}|(?:static\s+)?(?:(?:async[ \t]+)?(?:\*\s*)?|get\s+|set\s+)(?!constructor\b)(?:[\w$]+|\[\])\s*\(\)\s*\{\})*$/

const addsNothing = (text: string): boolean => {
  if (known.has(text)) return true
  if (!text.startsWith("class")) return false
  const outline = body(text)
  return outline !== undefined && onlyMethods.test(outline)
}

const hasDefault = (field: unknown): boolean => {
  // Sound: fields of a model are schemas or property signatures.
  const { ast } = field as Schema.Schema.All | Schema.PropertySignature.All
  return (
    (ast._tag === "PropertySignatureDeclaration" && ast.defaultValue !== undefined) ||
    (ast._tag === "PropertySignatureTransformation" && ast.to.defaultValue !== undefined)
  )
}

export const onlyAssigns = (model: { readonly fields: Schema.Struct.Fields }): boolean =>
  !Object.values(model.fields).some(hasDefault) && parents(model).every((one) => addsNothing(sourceOf(one)))
