import { ChangeFeed } from "@effecto/cache"
import { writing } from "../writing.js"

export default writing(ChangeFeed.layer())
