-- Discarded pages -----------------------------------------------------------------------------------
-- An operator may discard the dead request of a page whose call has begun. Nobody knows whether such a page is charged:
-- a worker asks the marketplace by reference, books the charge if there is one, and buys nothing.

ALTER TABLE collection.collection_pages ADD COLUMN IF NOT EXISTS discard_reason text;
COMMENT ON COLUMN collection.collection_pages.discard_reason IS
    'Why an operator discarded the page''s request after its call had begun: it is not bought; a charge is still booked.';
