CREATE TABLE posts (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL
);

INSERT INTO posts (title) VALUES
    ('How to sleep sixteen hours a day'),
    ('Boxes, reviewed'),
    ('The red dot: a progress report');
