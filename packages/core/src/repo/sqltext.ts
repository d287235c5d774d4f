/**
 * The text of SQL as PostgreSQL's own scanner takes it apart, as far as it has to be known here: where quotes and comments are, how parentheses are nested,
 * and where one statement ends and the next begins.
 *
 * A backslash in an ordinary string escapes or does not, as the session's `standard_conforming_strings` says, which nobody here knows. So a text with
 * backslashes is read both ways, and what is found in one of them counts, unless PostgreSQL could not read it that way itself.
 */

const spaces = /[ \t\n\r\f\v]+/y
const lineComments = /--[^\n\r]*/y
const names = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const tags = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const numbers = /\$?\d[\d.]*/y
/** Between two pieces of one string: a line's end, perhaps behind a comment, and more of the like. */
const continuations = /(?:[ \t\f\v]|--[^\n\r]*(?=[\n\r]))*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*(?=')/y

/** What something in a text is: a name, or one of PostgreSQL's words; something in quotes; or a character by itself. */
interface Token {
  readonly kind: "word" | "quoted" | "sign"
  /** A word in lower case. */
  readonly text: string
  readonly at: number
}

interface Read {
  readonly tokens: ReadonlyArray<Token>
  /** What was opened and never closed, and where. */
  readonly unclosed: { readonly what: "quote" | "comment"; readonly at: number } | undefined
}

/** Comments are nested. Where it ends, or nothing. */
const commentEnd = (text: string, begin: number): number | undefined => {
  let depth = 0
  for (let at = begin; at < text.length; at += 1) {
    if (text.startsWith("/*", at)) {
      depth += 1
      at += 1
    } else if (text.startsWith("*/", at)) {
      depth -= 1
      at += 1
      if (depth === 0) return at + 1
    }
  }
  return undefined
}

/** Two of them are one of its characters. Where it ends, or nothing. */
const pieceEnd = (text: string, begin: number, backslashEscapes: boolean): number | undefined => {
  const quote = text[begin]
  for (let at = begin + 1; at < text.length; at += 1) {
    if (text[at] === "\\" && backslashEscapes) at += 1
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1
      at += 1
    }
  }
  return undefined
}

/** A string that goes on behind the end of a line is of one kind, whatever stood before its first piece. Where it ends, or nothing. */
const quoteEnd = (text: string, begin: number, backslashEscapes: boolean): number | undefined => {
  const isString = text[begin] === "'"
  let end = pieceEnd(text, begin, backslashEscapes)
  while (isString && end !== undefined) {
    continuations.lastIndex = end
    const between = continuations.exec(text)
    if (between === null) return end
    end = pieceEnd(text, end + between[0].length, backslashEscapes)
  }
  return end
}

const read = (text: string, backslashEscapes: boolean): Read => {
  const tokens: Array<Token> = []
  let at = 0
  const matched = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    return pattern.exec(text)
  }
  const unclosed = (what: "quote" | "comment"): Read => ({ tokens, unclosed: { what, at } })
  while (at < text.length) {
    const skipped = matched(spaces) ?? matched(lineComments)
    if (skipped !== null) {
      at += skipped[0].length
      continue
    }
    if (text.startsWith("/*", at)) {
      const end = commentEnd(text, at)
      if (end === undefined) return unclosed("comment")
      at = end
      continue
    }
    const begin = at
    const word = matched(names)
    if (word !== null) {
      at += word[0].length
      const name = word[0].toLowerCase()
      tokens.push({ kind: "word", text: name, at: begin })
      // What stands before a quote, without a space, says what kind of string it is.
      if (name !== "e" || text[at] !== "'") continue
    }
    if (text[at] === "'" || text[at] === '"') {
      const isEscaped = text[at] === "'" && (word !== null || backslashEscapes)
      const end = quoteEnd(text, at, isEscaped)
      if (end === undefined) return unclosed("quote")
      tokens.push({ kind: "quoted", text: "", at: begin })
      at = end
      continue
    }
    const tag = matched(tags)
    if (tag !== null) {
      const end = text.indexOf(tag[0], at + tag[0].length)
      if (end < 0) return unclosed("quote")
      tokens.push({ kind: "quoted", text: "", at: begin })
      at = end + tag[0].length
      continue
    }
    const number = matched(numbers)
    if (number !== null) {
      at += number[0].length
      continue
    }
    tokens.push({ kind: "sign", text: text.charAt(at), at: begin })
    at += 1
  }
  return { tokens, unclosed: undefined }
}

const readings = (text: string): ReadonlyArray<Read> => {
  const usual = read(text, false)
  if (!text.includes("\\")) return [usual]
  const other = read(text, true)
  return other.unclosed === undefined ? [usual, other] : [usual]
}

/** What makes a text more than one condition. */
export interface Fault {
  /** What it does, behind "it". */
  readonly reason: string
  /** The place in the text, counted from 1. */
  readonly place: number
}

const setOperations: ReadonlySet<string> = new Set(["union", "intersect", "except"])

const faultOf = ({ tokens, unclosed }: Read): Fault | undefined => {
  const open: Array<number> = []
  for (const { at, kind, text } of tokens) {
    if (kind !== "sign") continue
    if (text === "(") open.push(at)
    else if (text === ")" && open.pop() === undefined)
      return { reason: "closes a parenthesis that it has not opened", place: at + 1 }
    else if (text === "\0") return { reason: "has a character in it that ends every text", place: at + 1 }
    else if (text === ";") return { reason: "ends the statement and begins another", place: at + 1 }
  }
  if (unclosed !== undefined)
    return { reason: `does not close a ${unclosed.what} that it opens`, place: unclosed.at + 1 }
  const [first] = open
  return first === undefined ? undefined : { reason: "does not close a parenthesis that it opens", place: first + 1 }
}

/** Why a text cannot stand in a statement of ours without changing what is around it; nothing if it can. */
export const fault = (text: string): Fault | undefined => {
  // Most conditions have nothing in them that could be out of balance.
  if (!/[()'"$;\\\0]|\/\*/.test(text)) return undefined
  for (const one of readings(text)) {
    const found = faultOf(one)
    if (found !== undefined) return found
  }
  return undefined
}

/** The word by which a text brings in another query's rows beside those that it is a condition on; nothing if it does not. */
export const setOperation = (text: string): string | undefined => {
  if (!/union|intersect|except/i.test(text)) return undefined
  for (const { tokens } of readings(text)) {
    let depth = 0
    for (const { kind, text: word } of tokens) {
      if (kind === "sign" && word === "(") depth += 1
      else if (kind === "sign" && word === ")") depth -= 1
      else if (kind === "word" && depth === 0 && setOperations.has(word)) return word
    }
  }
  return undefined
}

/** Whether a statement does nothing but insert rows: it changes none that are there, as an upsert does. */
export const onlyInserts = (text: string): boolean => {
  if (!/^\s*insert\b/i.test(text)) return false
  if (!/\bconflict\b/i.test(text)) return true
  return readings(text).every(({ tokens, unclosed }) => {
    const words: Array<string> = []
    let depth = 0
    for (const { kind, text: word } of tokens) {
      if (kind === "sign" && word === "(") depth += 1
      else if (kind === "sign" && word === ")") depth -= 1
      else if (kind === "word" && depth === 0) words.push(word)
    }
    return unclosed === undefined && !words.some((word, at) => word === "do" && words[at + 1] === "update")
  })
}

/** The words that stand before a parenthesis, as what a text calls does; an empty one for what is in quotes. */
export const calledIn = (text: string): ReadonlySet<string> => {
  const names = new Set<string>()
  if (!text.includes("(")) return names
  for (const { tokens } of readings(text))
    for (const [place, token] of tokens.entries()) {
      const before = tokens[place - 1]
      if (token.kind === "sign" && token.text === "(" && before !== undefined && before.kind !== "sign")
        names.add(before.text)
    }
  return names
}

/** The words that each statement begins with, up to the first that is none. */
const beginnings = (tokens: ReadonlyArray<Token>): ReadonlyArray<ReadonlyArray<string>> => {
  const all: Array<Array<string>> = []
  let words: Array<string> = []
  let isBeginning = true
  // The body of a routine has statements of its own, between begin atomic and an end that begins none of them: other words like these are names, or end a case.
  let isRoutine = false
  let isBody = false
  let depth = 0
  for (const [place, { kind, text }] of tokens.entries()) {
    const before = tokens[place - 1]?.text
    if (isBody) {
      isBody = !(kind === "word" && text === "end" && (before === ";" || before === "atomic"))
      continue
    }
    if (kind === "sign" && text === ";") {
      all.push(words)
      words = []
      isBeginning = true
      isRoutine = false
      continue
    }
    if (kind !== "word") {
      isBeginning = false
      if (text === "(") depth += 1
      if (text === ")") depth -= 1
      continue
    }
    if (isBeginning) words.push(text)
    if (words[0] === "create" && (text === "function" || text === "procedure")) isRoutine = true
    isBody = isRoutine && depth === 0 && text === "atomic" && before === "begin"
  }
  all.push(words)
  return all
}

const isControl = ([first, second, third]: ReadonlyArray<string>): boolean => {
  switch (first) {
    case "begin":
    case "commit":
    case "end":
    case "abort":
      return true
    case "start":
    case "prepare":
      return second === "transaction"
    case "rollback":
      // Going back to a savepoint ends nothing.
      return !(second === "to" || ((second === "work" || second === "transaction") && third === "to"))
    default:
      return false
  }
}

const candidates = /\b(?:begin|commit|end|abort|start|prepare|rollback)\b/i

/** Whether one of the statements in a text begins or ends a transaction: the first one only, or any. */
export const controls = (text: string, which: "first" | "any"): boolean => {
  if (!candidates.test(text)) return false
  return readings(text).some(({ tokens, unclosed }) => {
    // PostgreSQL reads all of a text before it runs any of it.
    if (unclosed !== undefined) return false
    const all = beginnings(tokens).filter((words) => words.length > 0)
    return which === "any" ? all.some(isControl) : all.slice(0, 1).some(isControl)
  })
}
