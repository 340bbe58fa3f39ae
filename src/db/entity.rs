//! What every entity has.

/// Ends an entity's module: what SeaORM wants of it beside its columns. Ours are written through it and read by SQL of our own, so they have no
/// relations, and no `#[sea_orm::model]`, whose loaders were a quarter of all that a build of this package checks.
macro_rules! plain_entity {
    () => {
        /// None.
        #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
        pub enum Relation {}

        impl ActiveModelBehavior for ActiveModel {}
    };
}
pub(crate) use plain_entity;
