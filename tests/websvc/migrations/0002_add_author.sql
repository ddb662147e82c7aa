-- Expand only: the version before this one, which knows no authors, keeps working on the new
-- table while both versions serve. A constant default does not rewrite the table.
ALTER TABLE posts ADD COLUMN author text NOT NULL DEFAULT 'the house cat';
