/** What to say of a word that is none of those that an option takes. */
export const unknownWord = (option: string, given: unknown, allowed: ReadonlyArray<unknown>): string =>
  `${option} cannot be ${JSON.stringify(given)}: it is one of ${allowed.map((word) => JSON.stringify(word)).join(", ")}.`

/**
 * What to say of an option that there is not, if one is given: passed over in silence, a misspelt `wait` would wait for ever. `what` says what it was given
 * for: "reading people", for example.
 */
export const unknownOption = (what: string, options: object, known: ReadonlySet<string>): string | undefined => {
  for (const name of Object.keys(options))
    if (!known.has(name))
      return `there is no option ${JSON.stringify(name)} for ${what}: one of ${[...known].map((one) => JSON.stringify(one)).join(", ")}`
  return undefined
}

/** The same as a defect. */
export const onlyKnown = (what: string, options: object, known: ReadonlySet<string>): void => {
  const wrong = unknownOption(what, options, known)
  if (wrong !== undefined) throw new TypeError(wrong)
}
