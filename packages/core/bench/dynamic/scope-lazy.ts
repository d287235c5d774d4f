import { scopes } from "../dynamic.js"

export default scopes(1_000, "lazy")
