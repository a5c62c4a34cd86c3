"""Analytics events: typed facts about what the product and its people did, recorded in the transaction that makes them so."""
